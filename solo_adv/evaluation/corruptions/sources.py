"""Where corrupted images come from: generated from the test images, or read from a folder."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from torch import Tensor

from solo_adv.crops import as_unit_float
from solo_adv.data import ImageSet
from solo_adv.evaluation.corruptions.pictures import FROST_PACKAGE, frost_directory
from solo_adv.evaluation.corruptions.severities import (
    CORRUPTIONS,
    GENERATED,
    SMALLEST,
    published_for,
)
from solo_adv.evaluation.images import select
from solo_adv.support.errors import UserError

if TYPE_CHECKING:
    from solo_adv.evaluation.corruptions.folders import StoredImages


class Source(Protocol):
    """Corrupted images, by corruption and severity."""

    @property
    def name(self) -> str:
        """``generated``, or the name of the folder."""

    @property
    def corruptions(self) -> tuple[str, ...]:
        """The corruptions that there are, in the order of ``CORRUPTIONS``."""

    @property
    def notes(self) -> tuple[str, ...]:
        """Remarks for the reader of the accuracy."""

    @property
    def key(self) -> tuple[object, ...]:
        """Plain values that differ between sources of different images."""

    def images(self, corruption: str, severity: int) -> ImageSet:
        """The images to judge, before :meth:`change`."""

    def change(
        self, pixels: Tensor, places: Iterable[int], corruption: str, severity: int
    ) -> Tensor:
        """Corrupt pixels (N, 3, S, S) in [0, 1] of the images at ``places``, if need be."""


def source_of(
    corruptions: str, images: ImageSet, *, max_images: int | None, seed: int, frost: str | None
) -> Source:
    """The source that the setting ``corruptions`` names.

    Args:
        corruptions: ``generated``, or a folder with CIFAR-10-C, CIFAR-100-C or ImageNet-C.
        images: the test images that are judged without corruption.
        max_images: how many images to draw from a folder, by the rule for the test set.
        seed: seed of that draw and of everything that is generated.
        frost: a folder with the pictures of frost; None takes those of the installed package.

    Raises:
        UserError: images cannot be generated from these, the folder holds no corrupted images or
            incomplete ones, or the pictures of frost are missing in ``frost``.
    """
    side = images[0][0].shape
    if side[1] != side[2]:
        raise UserError(
            f"corruptions={corruptions} needs square images, and these have {side[2]}x{side[1]} "
            "pixels: set data.image_size."
        )
    if corruptions == GENERATED:
        if side[1] < SMALLEST:
            raise UserError(
                f"corruptions=generated needs images of at least {SMALLEST} pixels; these have "
                f"{side[1]}."
            )
        return _Generated(images, seed, frost_directory(frost), side[1])
    from solo_adv.evaluation.corruptions.folders import (  # noqa: PLC0415  imports torchvision
        find_stored,
    )

    stored = find_stored(corruptions, images.classes, num_classes=images.num_classes, side=side[1])
    return _Stored(stored, images, max_images, seed)


@dataclass(frozen=True)
class _Generated:
    """Corruptions of the test images themselves."""

    test_images: ImageSet
    seed: int
    frost: Path | None
    size: int
    name: str = GENERATED

    @property
    def corruptions(self) -> tuple[str, ...]:
        return tuple(name for name in CORRUPTIONS if name != "frost" or self.frost is not None)

    @property
    def notes(self) -> tuple[str, ...]:
        published = published_for(self.size).size
        found = [
            f"Generated from the test images by seed {self.seed}, with the severities published "
            f"for images of {published} pixels; the published images were drawn with other random "
            "numbers."
        ]
        if published != self.size:
            found[0] += f" For images of {self.size} pixels, none are published."
        if self.frost is None:
            found.append(
                "Without frost: its pictures are not installed. 'pip install --no-deps "
                f"{FROST_PACKAGE}' or frost_pictures=DIR provides them (then again=true)."
            )
        return tuple(found)

    @property
    def key(self) -> tuple[object, ...]:
        return (GENERATED, self.seed, self.corruptions)

    def images(self, corruption: str, severity: int) -> ImageSet:
        return self.test_images

    def change(
        self, pixels: Tensor, places: Iterable[int], corruption: str, severity: int
    ) -> Tensor:
        from solo_adv.evaluation.corruptions.generating import (  # noqa: PLC0415  imports scipy
            corrupted,
        )

        whole = (255 * pixels).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
        found = corrupted(
            np.ascontiguousarray(whole),
            corruption,
            severity,
            places=list(places),
            seed=self.seed,
            frost=self.frost,
        )
        return as_unit_float(torch.from_numpy(found).permute(0, 3, 1, 2).to(pixels.device))


@dataclass(frozen=True)
class _Stored:
    """Corrupted images in a folder."""

    stored: "StoredImages"
    test_images: ImageSet
    max_images: int | None
    seed: int

    @property
    def name(self) -> str:
        return self.stored.root.resolve().name

    @property
    def corruptions(self) -> tuple[str, ...]:
        return self.stored.corruptions

    @property
    def notes(self) -> tuple[str, ...]:
        found = [f"Read from '{self.stored.root}'."]
        missing = [name for name in CORRUPTIONS if name not in self.corruptions]
        if missing:
            found.append(f"Not in that folder: {', '.join(missing)}.")
        labels = self.images(self.corruptions[0], 1).labels
        if not torch.equal(labels, self.test_images.labels):
            found.append(
                "These are other images than the clean ones, or in another order: their labels "
                "differ."
            )
        return tuple(found)

    @property
    def key(self) -> tuple[object, ...]:
        return (str(self.stored.root.resolve()), self.max_images, self.seed, self.corruptions)

    def images(self, corruption: str, severity: int) -> ImageSet:
        return select(self.stored.at(corruption, severity), self.max_images, self.seed)

    def change(
        self, pixels: Tensor, places: Iterable[int], corruption: str, severity: int
    ) -> Tensor:
        return pixels
