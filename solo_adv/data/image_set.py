"""One split of a data set, either resident (decoded in memory) or streamed."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
from torch.utils.data import Dataset

from solo_adv.data.decoding import CHUNK, Size, check_size, decode_or_next
from solo_adv.data.sources import EncodedSources, Sources
from solo_adv.support.errors import UserError
from solo_adv.support.examples import check_labels
from solo_adv.support.hashes import sha256
from solo_adv.support.progress import track

FINGERPRINT_DIGITS = 16


class ImageSet(Dataset[tuple[torch.Tensor, int]]):
    """N images with labels.

    A resident set holds decoded images in memory; a streamed set decodes an image when it is asked
    for. Give either ``images`` or ``sources``.

    Args:
        name: name for messages and reports.
        labels: long (N,), -1 where unlabelled.
        classes: names of the classes in the order of the labels; empty if unknown.
        images: the images of a resident set, uint8 (N, 3, H, W).
        sources: the N stored images of a streamed set.
        image_size: size to which streamed images are brought; None keeps the stored size.
        skip: whether the next readable image takes the place of a streamed image that cannot be
            read.
        stored_size: width and height of the images before they were resized, for reports.

    Raises:
        ValueError: both or neither of ``images`` and ``sources`` are given.
        UserError: images or labels have another shape or type; the message names the remedy.
    """

    def __init__(
        self,
        name: str,
        labels: torch.Tensor,
        classes: tuple[str, ...] = (),
        *,
        images: torch.Tensor | None = None,
        sources: Sources | None = None,
        image_size: Size | None = None,
        skip: bool = False,
        stored_size: str | None = None,
    ) -> None:
        if (images is None) == (sources is None):
            raise ValueError("an ImageSet holds images or sources, one of the two")
        if images is not None:
            _check_images(images, name)
        check_labels(labels, len(labels) if images is None else len(images), f"labels of {name}")
        self.name = name
        self.labels = labels
        self.classes = classes
        self.image_size = image_size
        self.skip = skip
        self.stored_size = stored_size
        self._images = images
        self._sources = sources
        self._size: tuple[int, int] | None = None
        self._fingerprint: str | None = None  # of a streamed set; a resident one is hashed quickly

    @property
    def resident(self) -> bool:
        """Whether all images are decoded in memory."""
        return self._images is not None

    @property
    def images(self) -> torch.Tensor:
        """All images, uint8 (N, 3, H, W).

        Raises:
            AttributeError: the set is streamed.
        """
        if self._images is None:
            raise AttributeError(f"{self.name} is streamed: its images are not in memory")
        return self._images

    @property
    def labelled(self) -> bool:
        """Whether every image has a label."""
        return bool((self.labels >= 0).all())

    @property
    def num_classes(self) -> int:
        """Number of classes. It is 1 for an unlabelled set, as in solo-learn."""
        highest = int(self.labels.max()) if len(self.labels) else 0
        return max(1, len(self.classes), highest + 1)

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def encoded(self) -> EncodedSources | None:
        """The images as encoded files; None if they are not stored as such."""
        return self._sources if isinstance(self._sources, EncodedSources) else None

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        """The image, uint8 (3, H, W), and its label. It raises what :meth:`read` raises.

        Raises:
            IndexError: there is no such image. It ends a loop over the set.
        """
        if index >= len(self):
            raise IndexError(f"{self.name} has {len(self)} images; there is no number {index}")
        return self.read(index)[1:]

    def read(self, index: int) -> tuple[int, torch.Tensor, int]:
        """Read an image or, if it is skipped, the image that takes its place.

        Returns:
            The index, the pixels, uint8 (3, H, W), and the label of the image that was read.

        Raises:
            UserError: a streamed image cannot be read, or its size differs from the first one's.
        """
        if self._sources is None:
            return index, self.images[index], int(self.labels[index])
        index, image = decode_or_next(self._sources, index, self.image_size, skip=self.skip)
        if self.image_size is None:
            if self._size is None:
                first = decode_or_next(self._sources, 0, None, skip=self.skip)[1]
                self._size = (first.shape[0], first.shape[1])
            check_size(image, self._size, self._sources, index)
        pixels = torch.from_numpy(image.transpose(2, 0, 1).copy())
        return index, pixels, int(self.labels[index])

    def subset(self, indices: Sequence[int]) -> "ImageSet":
        """The images at ``indices``, in that order."""
        rows = torch.as_tensor(indices, dtype=torch.long)
        return ImageSet(
            self.name,
            self.labels[rows],
            self.classes,
            images=None if self._images is None else self._images[rows],
            sources=None if self._sources is None else self._sources.select(rows.tolist()),
            image_size=self.image_size,
            skip=self.skip,
            stored_size=self.stored_size,
        )

    def fingerprint(self) -> str:
        """A short SHA-256 of pixels and labels, which is written into results.

        It is the same for a resident and a streamed set of the same images. A streamed set is
        decoded once for it, in threads; a terminal shows a progress bar after a second.

        Raises:
            UserError: a streamed image cannot be read, or its size differs from the first one's.
        """
        if self._fingerprint is not None:
            return self._fingerprint
        found = sha256(self._contents())[:FINGERPRINT_DIGITS]
        if not self.resident:
            self._fingerprint = found
        return found

    def _contents(self) -> Iterator[Any]:
        labels = self.labels
        if self._images is not None:
            yield repr(tuple(self._images.shape)).encode()
            yield self._images.contiguous().numpy().data
        else:
            labels = torch.empty_like(labels)
            for place, (_, pixels, label) in enumerate(self._in_order()):
                if place == 0:
                    yield repr((len(self), *pixels.shape)).encode()
                yield pixels.numpy().data
                labels[place] = label  # a skipped image's place has the label of the next image
        yield labels.contiguous().numpy().data

    def _in_order(self) -> Iterator[tuple[int, torch.Tensor, int]]:
        """Read every image, a chunk at a time in threads."""
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            chunks = (
                range(start, min(start + CHUNK, len(self))) for start in range(0, len(self), CHUNK)
            )
            read = (item for chunk in chunks for item in pool.map(self.read, chunk))
            yield from track(read, f"Hashing {self.name}", len(self))


def _check_images(images: torch.Tensor, name: str) -> None:
    if images.ndim != 4 or images.shape[1] != 3:
        remedy = " Give images.permute(0, 3, 1, 2)." if images.shape[-1:] == (3,) else ""
        raise UserError(
            f"Images of {name} must have the shape (N, 3, H, W); got {tuple(images.shape)}.{remedy}"
        )
    if images.dtype != torch.uint8:
        remedy = " Give (255 * images).round().byte() for pixels in [0, 1]."
        raise UserError(
            f"Images of {name} must be uint8; got {images.dtype}."
            f"{remedy if images.is_floating_point() else ''}"
        )
