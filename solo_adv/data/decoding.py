"""Decodes stored images into uint8 arrays."""

import os
import warnings
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from typing import TypeVar

import numpy as np
import torch
from PIL import Image

from solo_adv.data.sources import Sources
from solo_adv.support.errors import UnreadableImageError, UserError
from solo_adv.support.progress import track

CHUNK = 256  # number of images that a thread takes at a time

Result = TypeVar("Result")
Size = int | tuple[int, int]
"""Side in pixels to which an image is brought, or two: that of its shorter side when it is resized,
and that of the centre that is then cropped."""


def decode(sources: Sources, index: int, image_size: Size | None) -> np.ndarray:
    """Decode one image to RGB. Its EXIF orientation is ignored.

    Args:
        sources: the stored images.
        index: which of them to decode.
        image_size: size to which the image is brought: its shorter side is resized (bicubic,
            antialiased) and its centre cropped. None keeps the stored size.

    Returns:
        uint8 (H, W, 3).

    Raises:
        UnreadableImageError: the image cannot be read.
    """
    try:
        image = as_rgb(sources.open(index))
    except Exception as error:  # each codec raises exceptions of its own types
        raise unreadable(sources, index, error) from error
    return np.asarray(image if image_size is None else to_square(image, image_size))


def as_rgb(image: Image.Image) -> Image.Image:
    """Convert an image to RGB with 8 bits a channel. Of an animation, take the first frame.

    Raises:
        ValueError: the range of its pixels is not known.
    """
    sixteen_bits = image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PNG")
    if sixteen_bits:  # Pillow's own conversion would clip the pixels at 255
        image = Image.fromarray((np.asarray(image) / 257).round().astype(np.uint8))
    elif image.mode in ("I", "F"):
        raise ValueError(
            f"the range of its pixels (mode {image.mode}) is unknown; save it in 8 bits"
        )
    return image.convert("RGB")


_REMEDY = "data.on_unreadable=skip replaces such train images and leaves out such test images"


def unreadable(sources: Sources, index: int, reason: object) -> UnreadableImageError:
    """The error that names an image that cannot be read."""
    remedy = getattr(sources, "remedy", _REMEDY)
    return UnreadableImageError(
        f"Cannot read the image {sources.describe(index)}: {reason} ({remedy})"
    )


def decode_or_next(
    sources: Sources, index: int, image_size: Size | None, *, skip: bool
) -> tuple[int, np.ndarray]:
    """Decode one image as :func:`decode` does or, with ``skip``, the next one that can be read.

    Returns:
        The index of the decoded image, and the image, uint8 (H, W, 3).

    Raises:
        UnreadableImageError: the image cannot be read; with ``skip``, no image can be read.
    """
    if not skip:
        return index, decode(sources, index, image_size)

    def readable(candidate: int) -> np.ndarray | None:
        try:
            return decode(sources, candidate, image_size)
        except UnreadableImageError as error:
            warn_skipped(error)
            return None

    return first_readable(index, len(sources), readable)


def first_readable(
    index: int, count: int, read: Callable[[int], Result | None]
) -> tuple[int, Result]:
    """Call ``read`` with ``index`` and then the following indices until it does not return None.

    After index ``count - 1`` comes 0.

    Returns:
        The index for which ``read`` returned a result, and the result.

    Raises:
        UnreadableImageError: ``read`` returns None for all ``count`` images.
    """
    for candidate in (*range(index, count), *range(index)):
        result = read(candidate)
        if result is not None:
            return candidate, result
    raise UnreadableImageError(f"None of the {count} images can be read.")


def readable_rows(sources: Sources, image_size: Size | None, name: str) -> torch.Tensor:
    """Find the images that can be decoded, in threads; a warning names each of the others.

    Args:
        sources: N stored images.
        image_size: as for :func:`decode`.
        name: name of the images for the progress bar.

    Returns:
        Their indices, ascending.

    Raises:
        UnreadableImageError: none of them can be decoded.
    """

    def readable(index: int) -> bool:
        try:
            decode(sources, index, image_size)
        except UnreadableImageError as error:
            warnings.warn(f"Left out: {error}", stacklevel=2)
            return False
        return True

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = pool.map(readable, range(len(sources)))
        kept = torch.tensor(list(track(found, f"Checking {name}", len(sources))))
    if not kept.any():
        raise UnreadableImageError(f"None of the {len(sources)} images can be read.")
    return kept.nonzero().flatten()


def warn_skipped(error: UnreadableImageError) -> None:
    """Warn that an image is left out. Python shows the warning once for each image."""
    warnings.warn(f"Skipped, the next image takes its place: {error}", stacklevel=2)


def to_square(image: Image.Image, size: Size) -> Image.Image:
    """Resize the shorter side (bicubic), then crop the centre."""
    shorter, side = size if isinstance(size, tuple) else (size, size)
    # torchvision has the same function, but every decoding process would take seconds to import it.
    if min(image.size) != shorter:
        width, height = (shorter * length // min(image.size) for length in image.size)
        image = image.resize((width, height), Image.Resampling.BICUBIC)
    left, top = (round((length - side) / 2) for length in image.size)
    return image.crop((left, top, left + side, top + side))


def decode_all(
    sources: Sources, image_size: Size | None, name: str, *, skip: bool = False
) -> tuple[torch.Tensor, torch.Tensor]:
    """Decode all images in threads. A terminal shows a progress bar after a second.

    Args:
        sources: N stored images.
        image_size: as for :func:`decode`.
        name: name of the images for the progress bar.
        skip: whether the next readable image takes the place of one that cannot be read.

    Returns:
        The images, uint8 (N, 3, H, W), and the index in ``sources`` of each of them, long (N,).

    Raises:
        UserError: an image cannot be read, or the images have different sizes.
    """
    height, width = decode_or_next(sources, 0, image_size, skip=skip)[1].shape[:2]
    images = np.empty((len(sources), 3, height, width), dtype=np.uint8)
    rows = torch.arange(len(sources))

    def decode_chunk(start: int) -> int:
        stop = min(start + CHUNK, len(sources))
        for index in range(start, stop):
            rows[index], image = decode_or_next(sources, index, image_size, skip=skip)
            check_size(image, (height, width), sources, int(rows[index]))
            images[index] = image.transpose(2, 0, 1)
        return stop - start

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        chunks = [pool.submit(decode_chunk, start) for start in range(0, len(sources), CHUNK)]
        try:
            for _ in track(_one_by_one(chunks), f"Decoding {name}", len(sources)):
                pass
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return torch.from_numpy(images), rows


def check_size(image: np.ndarray, size: tuple[int, int], sources: Sources, index: int) -> None:
    """Refuse an image (H, W, 3) whose size differs from ``size``, the (height, width) of a batch.

    Raises:
        UserError: the sizes differ.
    """
    if image.shape[:2] != size:
        raise UserError(
            f"The images have different sizes ({size[1]}x{size[0]}, and"
            f" {image.shape[1]}x{image.shape[0]} for {sources.describe(index)});"
            " set data.image_size to bring them to one."
        )


def _one_by_one(chunks: Iterable[Future[int]]) -> Iterator[None]:
    """Yield once for each decoded image, when its chunk is ready."""
    for chunk in as_completed(chunks):
        yield from [None] * chunk.result()
