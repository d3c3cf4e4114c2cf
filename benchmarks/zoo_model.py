"""The model and the images of the evaluation benchmarks: the packaged CIFAR-10 encoder."""

import argparse
from pathlib import Path

import torch
from torch import Tensor, nn

import solo_adv
from benchmarks.record import device
from solo_adv.data import DataConfig, ImageSet, load_split
from solo_adv.evaluation import select

NAME = "cfamc_best_resnet18w16_cifar10"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options ``--data``, ``--zoo`` and ``--output``, which the benchmarks share."""
    parser.add_argument("--data", help="folder of CIFAR-10 as Parquet; default: noise images")
    parser.add_argument("--zoo", default=NAME, help="name or directory of the model")
    parser.add_argument("--output", type=Path, help="result file (JSON)")


def classifier(name: str) -> nn.Module:
    """Load the encoder with its robust linear head, frozen, on `device`."""
    return solo_adv.load_pretrained(name, head="robust_linear").to(device())


def images(data: str | None, split: str, count: int) -> ImageSet:
    """``count`` random images of a split; without data, smooth noise with random labels."""
    if data is None:
        generator = torch.Generator().manual_seed(0)
        coarse = torch.rand(count, 3, 8, 8, generator=generator)
        fine = torch.nn.functional.interpolate(coarse, size=32, mode="bicubic").clamp(0, 1)
        labels = torch.randint(10, (count,), generator=generator)
        classes = tuple(map(str, range(10)))
        pixels = (fine * 255).to(torch.uint8)
        return ImageSet(f"noise {split}", labels, classes, images=pixels)
    found = load_split(DataConfig(dataset="cifar10", format="parquet", train_path=data), split)
    assert found is not None
    return select(found, count, seed=0)


def pixels_and_labels(image_set: ImageSet) -> tuple[Tensor, Tensor]:
    """Pixels (N, 3, H, W), float in [0, 1], and labels (N,), on `device`."""
    return image_set.images.to(device()).float() / 255, image_set.labels.to(device())
