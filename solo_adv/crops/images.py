"""The images that every crop backend accepts."""

import torch
import torch.nn.functional as F
from torch import Tensor

from solo_adv.support.pixels import PixelCheck

check_images = PixelCheck("Crops", bytes_too=True)
"""Refuses what no backend can crop: images must be (N, 3, H, W), uint8 or float in [0, 1]."""


def as_unit_float(images: Tensor) -> Tensor:
    """Convert images to float32 with pixels in [0, 1]; same shape and device."""
    if images.dtype == torch.uint8:
        return images.to(torch.float32).div_(255)
    return images.to(torch.float32)


def border_of(side: int, share: float) -> int:
    """Width in pixels of the border at each end of a side of ``side`` pixels."""
    return round(share * side)


def bordered(images: Tensor, share: float) -> Tensor:
    """Add a black border around images (B, 3, H, W).

    Args:
        images: The images, in any type and on any device.
        share: Width of the border as a share of each side; 0 returns the images themselves.
    """
    if not share:
        return images
    vertical, horizontal = (border_of(side, share) for side in images.shape[2:])
    return F.pad(images, (horizontal, horizontal, vertical, vertical))


def central(images: Tensor, height: int, width: int) -> Tensor:
    """The centre of images (B, C, H, W) with this height and width; smaller images stay whole."""
    wanted = zip(images.shape[2:], (height, width), strict=True)
    top, left = (max(0, round((held - kept) / 2)) for held, kept in wanted)
    return images[:, :, top : top + height, left : left + width]
