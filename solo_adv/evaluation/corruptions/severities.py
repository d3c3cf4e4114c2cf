"""The published parameters of each corruption at its five severities, by the size of images.

Source:
    Hendrycks and Dietterich 2019, https://arxiv.org/abs/1903.12261; the values are those of the
    scripts that made CIFAR-10-C (32 pixels), Tiny ImageNet-C (64) and ImageNet-C (224),
    https://github.com/hendrycks/robustness
"""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

GENERATED = "generated"
"""The source of corruptions that are made from the test images; other sources are folders."""

SEVERITIES = (1, 2, 3, 4, 5)
SMALLEST = 8
"""Smallest side in pixels of an image that can be corrupted."""

Level = tuple[Any, ...]
"""The parameters of a corruption at one severity, as its function in this package takes them."""


class Published(NamedTuple):
    """The published parameters for images of one size."""

    size: int
    levels: Mapping[str, tuple[Level, Level, Level, Level, Level]]


def _elastic(side: int, *shares: Level) -> Any:
    """Parameters that are published as shares of the side."""
    return tuple(tuple(side * share for share in level) for level in shares)


def _singles(*values: float) -> Any:
    return tuple((value,) for value in values)


def _frosts(scale: float, *shares: Level) -> Any:
    return tuple((*level, scale) for level in shares)


def _zooms(step: float, *ends: float) -> Any:
    return tuple((end, step) for end in ends)


CIFAR = Published(
    32,
    {
        "gaussian_noise": _singles(0.04, 0.06, 0.08, 0.09, 0.10),
        "shot_noise": _singles(500, 250, 100, 75, 50),
        "impulse_noise": _singles(0.01, 0.02, 0.03, 0.05, 0.07),
        "defocus_blur": ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1)),
        "glass_blur": ((0.05, 1, 1), (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2)),
        "motion_blur": ((6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5)),
        "zoom_blur": _zooms(0.01, 1.06, 1.11, 1.16, 1.21, 1.26),
        "snow": (
            (0.1, 0.2, 1, 0.6, 8, 3, 0.95),
            (0.1, 0.2, 1, 0.5, 10, 4, 0.9),
            (0.15, 0.3, 1.75, 0.55, 10, 4, 0.9),
            (0.25, 0.3, 2.25, 0.6, 12, 6, 0.85),
            (0.3, 0.3, 1.25, 0.65, 14, 12, 0.8),
        ),
        "frost": _frosts(0.2, (1, 0.2), (1, 0.3), (0.9, 0.4), (0.85, 0.4), (0.75, 0.45)),
        "fog": ((0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75)),
        "brightness": _singles(0.05, 0.1, 0.15, 0.2, 0.3),
        "contrast": _singles(0.75, 0.5, 0.4, 0.3, 0.15),
        "elastic_transform": _elastic(
            32, (0, 0, 0.08), (0.05, 0.2, 0.07), (0.08, 0.06, 0.06), (0.1, 0.04, 0.05),
            (0.1, 0.03, 0.03),
        ),
        "pixelate": _singles(0.95, 0.9, 0.85, 0.75, 0.65),
        "jpeg_compression": _singles(80, 65, 58, 50, 40),
    },
)  # fmt: skip

TINY_IMAGENET = Published(
    64,
    {
        "gaussian_noise": _singles(0.04, 0.08, 0.12, 0.15, 0.18),
        "shot_noise": _singles(250, 100, 50, 30, 15),
        "impulse_noise": _singles(0.01, 0.02, 0.05, 0.08, 0.14),
        "defocus_blur": ((0.5, 0.6), (1, 0.1), (1.5, 0.1), (2.5, 0.01), (3, 0.1)),
        "glass_blur": ((0.1, 1, 1), (0.5, 1, 1), (0.6, 1, 2), (0.7, 2, 1), (0.9, 2, 2)),
        "motion_blur": ((10, 1), (10, 1.5), (10, 2), (10, 2.5), (12, 3)),
        "zoom_blur": _zooms(0.01, 1.06, 1.11, 1.16, 1.21, 1.26),
        "snow": (
            (0.1, 0.2, 1, 0.6, 8, 3, 0.8),
            (0.1, 0.2, 1, 0.5, 10, 4, 0.8),
            (0.15, 0.3, 1.75, 0.55, 10, 4, 0.7),
            (0.25, 0.3, 2.25, 0.6, 12, 6, 0.65),
            (0.3, 0.3, 1.25, 0.65, 14, 12, 0.6),
        ),
        "frost": _frosts(0.3, (1, 0.3), (0.9, 0.4), (0.8, 0.45), (0.75, 0.5), (0.7, 0.55)),
        "fog": ((0.4, 3), (0.7, 3), (1, 2.5), (1.5, 2), (2, 1.75)),
        "brightness": _singles(0.1, 0.2, 0.3, 0.4, 0.5),
        "contrast": _singles(0.4, 0.3, 0.2, 0.1, 0.05),
        "elastic_transform": _elastic(
            64, (0, 0, 0.08), (0.05, 0.3, 0.06), (0.1, 0.08, 0.06), (0.1, 0.03, 0.03),
            (0.16, 0.03, 0.02),
        ),
        "pixelate": _singles(0.9, 0.8, 0.7, 0.6, 0.5),
        "jpeg_compression": _singles(65, 58, 50, 40, 25),
    },
)  # fmt: skip

IMAGENET = Published(
    224,
    {
        "gaussian_noise": _singles(0.08, 0.12, 0.18, 0.26, 0.38),
        "shot_noise": _singles(60, 25, 12, 5, 3),
        "impulse_noise": _singles(0.03, 0.06, 0.09, 0.17, 0.27),
        "defocus_blur": ((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5)),
        "glass_blur": ((0.7, 1, 2), (0.9, 2, 1), (1, 2, 3), (1.1, 3, 2), (1.5, 4, 2)),
        "motion_blur": ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15)),
        "zoom_blur": ((1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03)),
        "snow": (
            (0.1, 0.3, 3, 0.5, 10, 4, 0.8),
            (0.2, 0.3, 2, 0.5, 12, 4, 0.7),
            (0.55, 0.3, 4, 0.9, 12, 8, 0.7),
            (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
            (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
        ),
        "frost": _frosts(1, (1, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75)),
        "fog": ((1.5, 2), (2, 2), (2.5, 1.7), (2.5, 1.5), (3, 1.4)),
        "brightness": _singles(0.1, 0.2, 0.3, 0.4, 0.5),
        "contrast": _singles(0.4, 0.3, 0.2, 0.1, 0.05),
        # The published side is 244 by mistake, as its authors say.
        "elastic_transform": _elastic(
            244, (2, 0.7, 0.1), (2, 0.08, 0.2), (0.05, 0.01, 0.02), (0.07, 0.01, 0.02),
            (0.12, 0.01, 0.02),
        ),
        "pixelate": _singles(0.6, 0.5, 0.4, 0.3, 0.25),
        "jpeg_compression": _singles(25, 18, 15, 10, 7),
    },
)  # fmt: skip

CORRUPTIONS = tuple(CIFAR.levels)
"""The names of the 15 corruptions in the paper's order. Their places are part of the seeds."""

PUBLISHED = (CIFAR, TINY_IMAGENET, IMAGENET)


def published_for(size: int) -> Published:
    """The parameters for images of ``size`` pixels: those of the nearest published size, by ratio.

    The published parameters are not scaled: 48 pixels have the blur radii of 64.
    """
    return min(PUBLISHED, key=lambda published: abs(math.log(size / published.size)))
