"""Colour operations on a batch of float crops (N, 3, h, w) with pixels in [0, 1]."""

import torch
from torch import Tensor

# PIL rounds to 8 bits before it compares with 128.
_SOLARIZE_FROM = 127.5 / 255
_WHEEL = 6
"""Length of the colour wheel, from primary to primary 2."""


def luma(crops: Tensor) -> Tensor:
    """The gray (N, 1, h, w) of ITU-R 601, as PIL's mode L."""
    red, green, blue = crops.split(1, dim=1)
    return (red * 0.299).add_(green, alpha=0.587).add_(blue, alpha=0.114)


def grayscale(crops: Tensor) -> Tensor:
    """The crops without colour, in three equal channels; a view."""
    return luma(crops).expand_as(crops)


def brightness_(crops: Tensor, amount: Tensor) -> Tensor:
    """Move each crop towards black, or away from it, in place.

    Args:
        crops: Crops (N, 3, h, w).
        amount: 1 - factor; (N,).
    """
    return crops.mul_(1 - _per_crop(amount)).clamp_(0, 1)


def contrast_(crops: Tensor, amount: Tensor) -> Tensor:
    """Move each crop towards the even gray of its mean, or away from it; as `brightness_`."""
    means = crops.mean(dim=(2, 3), keepdim=True)
    return _blend_(crops, luma(means), amount)


def saturation_(crops: Tensor, amount: Tensor) -> Tensor:
    """Move each crop towards its own gray, or away from it; as `brightness_`."""
    return _blend_(crops, luma(crops), amount)


def _blend_(crops: Tensor, other: Tensor, amount: Tensor) -> Tensor:
    amount = _per_crop(amount)
    # On a CPU lerp_ takes several times as long where it broadcasts.
    return crops.mul_(1 - amount).add_(other.mul_(amount)).clamp_(0, 1)


def _per_crop(amount: Tensor) -> Tensor:
    return amount.view(-1, 1, 1, 1)


def shift_hue(crops: Tensor, turns: Tensor) -> Tensor:
    """Turn the HSV hue of each crop, which keeps its value and saturation.

    The highest of a pixel's primaries is the value V, the highest less the lowest its chroma C.
    A primary's level is a trapezoid of how far the hue is, on a wheel of 6 parts, from that
    primary: V up to 1, V - C from 2 on, and a straight line between. All is computed in units of
    C, so nothing is divided, and gray needs no care.

    Args:
        crops: Crops (N, 3, h, w).
        turns: Shift in whole turns of the colour wheel; (N,).

    Returns:
        New crops.
    """
    red, green, blue = crops.split(1, dim=1)
    high = torch.maximum(torch.maximum(red, green), blue)
    low = torch.minimum(torch.minimum(red, green), blue)
    chroma = high - low
    # How far from red, times C; it grows from 0 to 3 through green, and through blue as well.
    from_red = (green + blue).sub_(red).add_(high).sub_(low, alpha=2)
    hue = from_red.copysign_(green - blue)

    primaries = torch.arange(0, _WHEEL, 2, device=crops.device)
    shift = _per_crop(turns) * _WHEEL - primaries.view(1, 3, 1, 1)
    # Within half a wheel, so that with the hue's it is within a whole one.
    shift = (shift + _WHEEL / 2).remainder_(_WHEEL) - _WHEEL / 2
    distance = torch.addcmul(hue, chroma, shift).abs_()
    # A whole wheel is as near as none: folded at half of it.
    level = distance.sub_(chroma, alpha=_WHEEL / 2).abs_().add_(low - chroma)
    return torch.clamp(level, min=low, max=high)


def solarize(crops: Tensor) -> Tensor:
    """Invert the pixels at or above 128/255, as ``PIL.ImageOps.solarize``."""
    return crops.lerp(1 - crops, (crops >= _SOLARIZE_FROM).to(crops.dtype))
