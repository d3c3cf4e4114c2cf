"""Batches of images as an encoder takes them, and the one subset that all tests share."""

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from solo_adv.crops import as_unit_float
from solo_adv.data import ImageSet, ResidentLoader, StreamingLoader, streaming_loader
from solo_adv.evaluation.aggregation import CropStacks
from solo_adv.support.checks import whole
from solo_adv.support.processes import rank, usable_cores, world_size

MAX_WORKERS = 16


def batches(
    image_set: ImageSet,
    batch_size: int,
    device: torch.device | str,
    *,
    shuffle_seed: int | None = None,
    epochs: int = 1,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Pixels (N, 3, H, W) in [0, 1] and labels (N,) on ``device``, every image once an epoch.

    Of `CropStacks`, crops (N, 3 n, size, size) instead of pixels. In channels_last, in which
    convolutions are computed faster; perturbations and activations follow.
    In the order of the set; with a ``shuffle_seed``, in a new order every epoch. The last batch of
    an epoch may be smaller: no image is left out.
    """
    shuffle, seed = shuffle_seed is not None, shuffle_seed or 0
    loader: ResidentLoader | StreamingLoader
    if image_set.resident:
        loader = ResidentLoader(
            image_set.images,
            image_set.labels,
            batch_size=batch_size,
            shuffle=shuffle,
            drop_last=False,
            seed=seed,
            device=device,
        )
    else:
        loader = streaming_loader(
            image_set,
            batch_size=batch_size,
            shuffle=shuffle,
            drop_last=False,
            seed=seed,
            # Starting workers costs more than decoding a single batch.
            num_workers=min(MAX_WORKERS, usable_cores(), num_batches(image_set, batch_size) - 1),
            device=torch.device(device),
        )
    for epoch in range(epochs):
        loader.sampler.set_epoch(epoch)
        for _, (images,), labels in loader:
            pixels = as_unit_float(images.to(device, non_blocking=True))
            if isinstance(image_set, CropStacks):
                pixels = image_set.crops(pixels)
            pixels = pixels.contiguous(memory_format=torch.channels_last)
            yield pixels, labels.to(device, non_blocking=True)


class Batch(NamedTuple):
    """One of the batches that the processes share."""

    number: int
    """Its place among the batches, whichever process has it."""
    places: Tensor
    """Where its images lie in the set, long (N,), on the CPU."""
    images: Tensor
    labels: Tensor


def my_batches(
    image_set: ImageSet,
    places: Tensor,
    batch_size: int,
    device: torch.device | str,
    *,
    first: int = 0,
) -> Iterator[Batch]:
    """This process's share of the batches of the images at ``places``, in their order.

    What is in a batch does not depend on how many processes there are, so that whatever is drawn
    for a batch does not either.

    Args:
        places: long (M,).
        first: leave out the batches before this one.
    """
    every = places.split(batch_size)
    mine = range(first + rank(), len(every), world_size()) if len(places) else range(0)
    if not mine:
        return
    chosen = image_set.subset(torch.cat([every[number] for number in mine]).tolist())
    stream = batches(chosen, batch_size, device)
    for number, (images, labels) in zip(mine, stream, strict=True):
        yield Batch(number, every[number], images, labels)


def my_share(count: int, batch_size: int) -> int:
    """How many of the batches of ``count`` images are this process's."""
    return len(range(rank(), math.ceil(count / batch_size), world_size()))


def num_batches(image_set: ImageSet, batch_size: int) -> int:
    return math.ceil(len(image_set) / batch_size)


def select(image_set: ImageSet, max_images: int | None, seed: int) -> ImageSet:
    """``max_images`` images of the set, drawn by ``seed`` alone, in the set's order; None: all.

    Drawn at random because folders are sorted by class: the first thousand are of few classes.

    Raises:
        UserError: ``max_images`` is not a whole number of at least 1.
    """
    if max_images is None:
        return image_set
    whole("max_images", max_images, 1)
    if max_images >= len(image_set):
        return image_set
    drawn = torch.randperm(len(image_set), generator=torch.Generator().manual_seed(seed))
    return image_set.subset(drawn[:max_images].sort().values.tolist())
