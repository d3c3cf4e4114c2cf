"""Batches of whole images as an encoder takes them, and the one subset that all tests share."""

import math
import os
from collections.abc import Iterator

import torch
from torch import Tensor

from solo_adv.checks import whole
from solo_adv.crops import as_unit_float
from solo_adv.data import ImageSet, ResidentLoader, StreamingLoader, streaming_loader

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
            pin_memory=torch.device(device).type == "cuda",
        )
    for epoch in range(epochs):
        loader.sampler.set_epoch(epoch)
        for _, (images,), labels in loader:
            yield (
                as_unit_float(images.to(device, non_blocking=True)),
                labels.to(device, non_blocking=True),
            )


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


def usable_cores() -> int:
    """Processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
