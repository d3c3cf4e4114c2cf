"""Gaussian blur of a batch of crops as PIL computes it; each crop has its own sigma."""

import torch
from torch import Tensor

_PASSES = 3


def blur(crops: Tensor, sigma: Tensor) -> Tensor:
    """Blur each crop as ``PIL.ImageFilter.GaussianBlur`` does, without its rounding to 8 bits.

    PIL applies three box filters of fractional radius, whose variances add up to that of the
    Gaussian, and repeats the edge pixels before each (Gwosdek et al., "Theoretical foundations of
    Gaussian convolution by extended box filtering", 2011).

    Args:
        crops: Crops (N, 3, h, h), square.
        sigma: Standard deviations in pixels, above 0; (N,), on the crops' device.

    Returns:
        New crops.
    """
    box = _box_matrices(_box_radius(sigma), crops.shape[-1])
    line = torch.linalg.matrix_power(box, _PASSES)[:, None]
    return (line @ crops @ line.mT).clamp_(0, 1)


def _box_radius(sigma: Tensor) -> Tensor:
    """Fractional radius of the box (equations 7, 11 and 14 of Gwosdek et al.)."""
    variance = sigma.square() / _PASSES
    whole = ((12 * variance + 1).sqrt() - 1).div(2).floor()
    part = (2 * whole + 1) * (whole * (whole + 1) - 3 * variance)
    return whole + part / (6 * (variance - (whole + 1).square()))


def _box_matrices(radius: Tensor, size: int) -> Tensor:
    """The box filters (N, size, size) of a line of pixels; its end pixels are repeated."""
    place = torch.arange(size, device=radius.device, dtype=torch.float32)
    radius = radius[:, None]
    distance = (place[:, None] - place).abs()
    boxes = (radius[:, None] + 1 - distance).clamp_(0, 1)
    boxes[..., 0] += (radius - place).clamp_(min=0)
    boxes[..., -1] += (radius - place.flip(0)).clamp_(min=0)
    return boxes.div_(2 * radius[:, None] + 1)
