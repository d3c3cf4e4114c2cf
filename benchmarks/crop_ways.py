"""The ways to make crops that ``benchmarks.crops`` compares, as endless streams of batches."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate
from torch.utils.data import DataLoader, Dataset

from solo_adv.crops import CropOptions, CropSpec, build
from solo_adv.crops.torchvision import TorchvisionCrops
from solo_adv.data import DataConfig, ImageSet, ResidentLoader, load_split, streaming_loader

WAYS = ("pil", "torch", "torch-compiled", "dali")
SOURCE_SIZES = {32: 32, 224: 256}
"""For each crop size the side of the source images; those of 256 pixels are JPEG files."""
NUM_FILES = 64


def batch_size(size: int, views: int) -> int:
    """Images in a batch, so few that even PIL makes several batches a second."""
    most, crops = {32: (96, 1536), 224: (8, 128)}[size]
    return min(most, crops // views)


def smooth_images(count: int, size: int) -> Tensor:
    """Images with smooth parts and fine grain, like photographs; uint8 (count, 3, size, size)."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(count, 3, 7, 7, generator=generator)
    smooth = interpolate(coarse, size=(size, size), mode="bicubic")
    grain = 0.1 * torch.rand(count, 3, size, size, generator=generator)
    return (smooth + grain).clamp(0, 1).mul(255).round().to(torch.uint8)


def write_files(folder: Path) -> None:
    """Write the JPEG files that crops of 224 pixels are cut from."""
    for number, image in enumerate(smooth_images(NUM_FILES, SOURCE_SIZES[224])):
        picture = Image.fromarray(image.permute(1, 2, 0).numpy())
        picture.save(folder / f"{number:03}.jpg", quality=90)


def stream(
    way: str, *, size: int, views: int, cores: int, folder: Path, device: torch.device
) -> Iterator[int]:
    """Make batches of crops endlessly and yield the number of crops in each.

    Args:
        way: One of ``WAYS``.
        size: Side of the crops: 32 (from images in memory) or 224 (from files in ``folder``).
        views: Number of crops of an image.
        cores: Number of workers or threads; with 1 all is done in this process and thread.
        folder: The folder that ``write_files`` has filled.
        device: Device for the crops; ``pil`` leaves them on the CPU.
    """
    spec = CropSpec.preset("multi_crop", num_crops=views, size=size)
    if way == "pil":
        yield from _pil(spec, cores, folder)
        return
    images = _image_set(size, folder)
    order = {"batch_size": batch_size(size, views), "shuffle": True, "drop_last": True}
    if way == "dali":
        from solo_adv.data.dali import DaliLoader  # noqa: PLC0415

        loader = DaliLoader(
            images, spec, options=CropOptions(), device=device, threads=cores, **order
        )
        for _, crops, _ in _endless(loader):
            yield len(crops) * len(crops[0])
        return
    if images.resident:
        loader = ResidentLoader(images.images, images.labels, device=device, **order)
    else:
        workers = cores if cores > 1 else 0
        loader = streaming_loader(images, num_workers=workers, device=device, **order)
    crop = build(spec, "torch", compile=way == "torch-compiled")
    for _, (pixels,), _ in _endless(loader):
        yield len(crop(pixels.to(device)))


def _pil(spec: CropSpec, cores: int, folder: Path) -> Iterator[int]:
    """Make crops one by one with PIL in worker processes, like the reference code."""
    loader = DataLoader(
        _PILCrops(spec, folder),
        batch_size=batch_size(spec.size, spec.num_crops),
        shuffle=True,
        drop_last=True,
        num_workers=cores if cores > 1 else 0,
        persistent_workers=cores > 1,
    )
    for crops in _endless(loader):
        yield len(crops) * len(crops[0])


class _PILCrops(Dataset[list[Tensor]]):
    def __init__(self, spec: CropSpec, folder: Path) -> None:
        self.views = spec.num_crops
        self.transform = TorchvisionCrops(spec).transform
        self.files = sorted(folder.glob("*.jpg")) if spec.size == 224 else None
        images = smooth_images(NUM_FILES * 4, 32).permute(0, 2, 3, 1).numpy()
        self.pictures = [Image.fromarray(image) for image in images]

    def __len__(self) -> int:
        return len(self.pictures if self.files is None else self.files)

    def __getitem__(self, index: int) -> list[Tensor]:
        if self.files is None:
            picture = self.pictures[index]
        else:
            picture = Image.open(self.files[index]).convert("RGB")
        return [self.transform(picture) for _ in range(self.views)]


def _image_set(size: int, folder: Path) -> ImageSet:
    if size == 32:
        images = smooth_images(NUM_FILES * 4, 32)
        return ImageSet("memory", torch.zeros(len(images), dtype=torch.long), images=images)
    config = DataConfig(
        dataset="custom",
        train_path=str(folder),
        no_labels=True,
        image_size=SOURCE_SIZES[size],
        resident=False,
    )
    images = load_split(config, "train")
    assert images is not None
    return images


def _endless(loader):  # type: ignore[no-untyped-def]
    for epoch in itertools.count():
        if hasattr(loader.sampler, "set_epoch"):
            loader.sampler.set_epoch(epoch)
        yield from loader
