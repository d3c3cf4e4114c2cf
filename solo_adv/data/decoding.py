"""From stored images to uint8 arrays."""

import os
import time
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor, as_completed

import numpy as np
import torch
from PIL import Image
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as tv

from solo_adv.data.sources import Sources
from solo_adv.errors import UserError

CHUNK = 256  # images a thread takes at a time
SILENT_SECONDS = 1.0


def decode(sources: Sources, index: int, image_size: int | None) -> np.ndarray:
    """Decode one image to RGB; its EXIF orientation is ignored.

    Args:
        image_size: side in pixels to which the image is brought: the shorter side is resized
            (bicubic, antialiased) and the centre cropped. None: as stored.

    Returns:
        uint8 (H, W, 3).

    Raises:
        UserError: the image cannot be read.
    """
    try:
        image = sources.open(index).convert("RGB")
    except Exception as error:  # every codec has its own
        raise UserError(f"Cannot read the image {sources.describe(index)}: {error}") from error
    return np.asarray(image if image_size is None else to_square(image, image_size))


def to_square(image: Image.Image, side: int) -> Image.Image:
    """Resize the shorter side to ``side`` pixels (bicubic), then crop the centre."""
    if image.size == (side, side):
        return image
    resized = tv.resize(image, side, interpolation=InterpolationMode.BICUBIC)
    return tv.center_crop(resized, side)


def decode_all(sources: Sources, image_size: int | None, name: str) -> torch.Tensor:
    """Decode every image, in threads, with a progress bar on a terminal if it takes a while.

    Returns:
        uint8 (N, 3, H, W).

    Raises:
        UserError: an image cannot be read, or the images have different sizes.
    """
    height, width = decode(sources, 0, image_size).shape[:2]
    images = np.empty((len(sources), 3, height, width), dtype=np.uint8)

    def decode_chunk(start: int) -> int:
        stop = min(start + CHUNK, len(sources))
        for index in range(start, stop):
            image = decode(sources, index, image_size)
            check_size(image, (height, width), sources, index)
            images[index] = image.transpose(2, 0, 1)
        return stop - start

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        chunks = [pool.submit(decode_chunk, start) for start in range(0, len(sources), CHUNK)]
        try:
            _wait(chunks, len(sources), f"Decoding {name}")
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return torch.from_numpy(images)


def check_size(image: np.ndarray, size: tuple[int, int], sources: Sources, index: int) -> None:
    """Images of one batch must have one size.

    Raises:
        UserError: the image (H, W, 3) has not the (height, width) that is asked.
    """
    if image.shape[:2] != size:
        raise UserError(
            f"The images have different sizes ({size[1]}x{size[0]}, and"
            f" {image.shape[1]}x{image.shape[0]} for {sources.describe(index)});"
            " set data.image_size to bring them to one."
        )


def _wait(chunks: Iterable[Future[int]], total: int, title: str) -> None:
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    bar = Progress(*columns, TimeRemainingColumn(), console=console, transient=True)
    task = bar.add_task(title, total=total)
    begin = time.monotonic()
    shown = False
    try:
        for chunk in as_completed(chunks):
            bar.advance(task, chunk.result())
            slow = time.monotonic() - begin > SILENT_SECONDS
            if slow and not shown and console.is_terminal:
                bar.start()
                shown = True
    finally:
        if shown:
            bar.stop()
