"""Batches of images in the form that an encoder takes, and the subset that all protocols share."""

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
_FEW = 4


def batches(
    image_set: ImageSet,
    batch_size: int,
    device: torch.device | str,
    *,
    shuffle_seed: int | None = None,
    epochs: int = 1,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield every image once an epoch: pixels (N, 3, H, W) in [0, 1] and labels (N,).

    For `CropStacks` the pixels are those of crops, (N, 3 n, size, size). They lie on ``device`` in
    channels_last, in which convolutions are faster, and perturbations and activations take over
    that memory format. No image is left out, so the last batch of an epoch may be smaller.

    Args:
        image_set: the images.
        batch_size: number of images in a batch.
        device: where the batches lie.
        shuffle_seed: seed of a new order in every epoch; None keeps the order of the set.
        epochs: how many epochs to yield.
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
    """Its number among the batches of all processes."""
    places: Tensor
    """The indices of its images in the set, long (N,), on the CPU."""
    images: Tensor
    """Pixels (N, 3, H, W) in [0, 1], or crops, as :func:`batches` yields them."""
    labels: Tensor
    """Labels (N,)."""


def my_batches(
    image_set: ImageSet,
    places: Tensor,
    batch_size: int,
    device: torch.device | str,
    *,
    first: int = 0,
) -> Iterator[Batch]:
    """Yield this process's share of the batches of the images at ``places``, in their order.

    The contents of a batch do not depend on the number of processes. Neither do the random numbers
    that are drawn for it.

    Args:
        image_set: all images.
        places: indices of the images to use, long (M,).
        batch_size: number of images in a batch.
        device: where the batches lie.
        first: number of the first batch to yield; the ones before it are left out.
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
    """How many of the batches of ``count`` images this process gets."""
    return len(range(rank(), math.ceil(count / batch_size), world_size()))


def a_few(image_set: ImageSet, device: torch.device | str) -> Tensor:
    """The first images of the set as a batch, for checks of a network."""
    some = image_set.subset(list(range(min(_FEW, len(image_set)))))
    images, _ = next(batches(some, _FEW, device))
    return images


def num_batches(image_set: ImageSet, batch_size: int) -> int:
    """How many batches the images make; the last one may be smaller."""
    return math.ceil(len(image_set) / batch_size)


def select(image_set: ImageSet, max_images: int | None, seed: int) -> ImageSet:
    """Draw ``max_images`` images of the set by ``seed`` alone. They keep the order of the set.

    They are drawn at random because folders are sorted by class, so that the first thousand images
    belong to few classes.

    Args:
        image_set: the images.
        max_images: how many to draw; None takes all.
        seed: seed of the draw.

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
