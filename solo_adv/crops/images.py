"""The images that every crop backend accepts."""

import torch
import torch.nn.functional as F
from torch import Tensor

from solo_adv.support.errors import UserError


def check_images(images: Tensor) -> None:
    """Check that the images are (B, 3, H, W) in uint8, or in float with pixels in [0, 1].

    The range is checked on the CPU only, because reading it from a device would wait for it.

    Raises:
        UserError: The shape, the type or the range is wrong.
    """
    if images.ndim != 4 or images.shape[1] != 3 or images.numel() == 0:
        raise UserError(
            f"Crops are taken of images of shape (B, 3, H, W) without empty dimensions; "
            f"got {tuple(images.shape)}."
        )
    if images.dtype != torch.uint8 and not images.is_floating_point():
        raise UserError(f"Crops are taken of uint8 or float images; got {images.dtype}.")
    if images.is_floating_point() and images.device.type == "cpu":
        low, high = (bound.item() for bound in images.detach().aminmax())
        if not (low >= 0 and high <= 1):
            raise UserError(
                f"Float images must have pixels in [0, 1]; got {low:g} to {high:g}. "
                "Undo the normalisation, or divide by 255."
            )


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
