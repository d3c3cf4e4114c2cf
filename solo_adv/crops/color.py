"""Colour operations on a batch of float crops (N, 3, h, w) with pixels in [0, 1]."""

import torch
from torch import Tensor

# PIL compares with 128 after it has rounded to 8 bits, so 127.5 is inverted, too.
_SOLARIZE_FROM = 127.5 / 255
_WHEEL = 6
"""Length of the colour wheel: the primaries red, green and blue lie at 0, 2 and 4."""


def luma(crops: Tensor) -> Tensor:
    """The luma (N, 1, h, w) of ITU-R 601, which is PIL's mode L."""
    red, green, blue = crops.split(1, dim=1)
    return (red * 0.299).add_(green, alpha=0.587).add_(blue, alpha=0.114)


def grayscale(crops: Tensor) -> Tensor:
    """The luma in three equal channels; a view, not a copy."""
    return luma(crops).expand_as(crops)


def brightness_(crops: Tensor, amount: Tensor) -> Tensor:
    """Scale the brightness of each crop, in place.

    Args:
        crops: Crops (N, 3, h, w).
        amount: 1 minus the brightness factor; (N,).
    """
    return crops.mul_(1 - _per_crop(amount)).clamp_(0, 1)


def contrast_(crops: Tensor, amount: Tensor) -> Tensor:
    """Blend each crop with the gray of its mean, in place; arguments as for `brightness_`."""
    means = crops.mean(dim=(2, 3), keepdim=True)
    return _blend_(crops, luma(means), amount)


def saturation_(crops: Tensor, amount: Tensor) -> Tensor:
    """Blend each crop with its grayscale version, in place; arguments as for `brightness_`."""
    return _blend_(crops, luma(crops), amount)


def _blend_(crops: Tensor, other: Tensor, amount: Tensor) -> Tensor:
    amount = _per_crop(amount)
    # On a CPU a broadcasting lerp_ takes several times as long.
    return crops.mul_(1 - amount).add_(other.mul_(amount)).clamp_(0, 1)


def _per_crop(amount: Tensor) -> Tensor:
    return amount.view(-1, 1, 1, 1)


def shift_hue(crops: Tensor, turns: Tensor) -> Tensor:
    """Shift the HSV hue of each crop and keep its value and saturation.

    The largest of a pixel's three channels is its value V, the largest minus the smallest its
    chroma C. On a colour wheel of length 6, a channel depends only on the distance d of the hue
    from that primary: it is V for d <= 1, V - C for d >= 2, and linear between. All distances are
    multiplied by C, so that no division is needed, not even for gray pixels, where C is 0.

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
    # Distance of the hue from red, times C: 0 to 3. Its sign becomes + on the green side and - on
    # the blue side.
    from_red = (green + blue).sub_(red).add_(high).sub_(low, alpha=2)
    hue = from_red.copysign_(green - blue)

    primaries = torch.arange(0, _WHEEL, 2, device=crops.device)
    shift = _per_crop(turns) * _WHEEL - primaries.view(1, 3, 1, 1)
    # Wrap the shift to half a wheel, so that hue plus shift stays within one whole wheel.
    shift = (shift + _WHEEL / 2).remainder_(_WHEEL) - _WHEEL / 2
    distance = torch.addcmul(hue, chroma, shift).abs_()
    # Distances above half a wheel are shorter the other way round: fold them.
    level = distance.sub_(chroma, alpha=_WHEEL / 2).abs_().add_(low - chroma)
    return torch.clamp(level, min=low, max=high)


def solarize(crops: Tensor) -> Tensor:
    """Invert the pixels at or above 128/255, as ``PIL.ImageOps.solarize``."""
    return crops.lerp(1 - crops, (crops >= _SOLARIZE_FROM).to(crops.dtype))
