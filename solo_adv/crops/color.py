"""Colour operations on a batch of float crops (N, 3, h, w) with pixels in [0, 1]."""

import torch
from torch import Tensor

# PIL rounds to 8 bits before it compares with 128.
_SOLARIZE_FROM = 127.5 / 255
# Below it a colour is gray to the eye; its square, of which gradients are made, is still a float.
_SMALLEST_CHROMA = 1e-12


def luma(crops: Tensor) -> Tensor:
    """The gray (N, 1, h, w) of ITU-R 601, as PIL's mode L."""
    red, green, blue = crops.split(1, dim=1)
    return (red * 0.299).add_(green, alpha=0.587).add_(blue, alpha=0.114)


def grayscale(crops: Tensor) -> Tensor:
    """The crops without colour, in three equal channels; a view."""
    return luma(crops).expand_as(crops)


def blend_(crops: Tensor, *, amount: Tensor, to_mean: Tensor, to_gray: Tensor) -> Tensor:
    """Change the brightness, contrast or saturation of each crop, in place.

    All three move a crop away from, or towards, another image: black for brightness, the even gray
    of its mean for contrast, its own gray for saturation.

    Args:
        crops: Crops (N, 3, h, w).
        amount: 1 - factor; 0 leaves a crop as it is; (N, 1, 1, 1).
        to_mean: 1 where the contrast is meant, else 0; (N, 1, 1, 1).
        to_gray: 1 where the saturation is meant, else 0; (N, 1, 1, 1).
    """
    gray = luma(crops)
    mean = gray.mean(dim=(2, 3), keepdim=True).mul_(to_mean)
    other = gray.mul_(to_gray).add_(mean)
    return crops.lerp_(other, amount).clamp_(0, 1)


def shift_hue(crops: Tensor, turns: Tensor) -> Tensor:
    """Turn the HSV hue of each crop.

    Args:
        crops: Crops (N, 3, h, w).
        turns: Shift in whole turns of the colour wheel; (N,).

    Returns:
        New crops of the same value and saturation.
    """
    red, green, blue = crops.split(1, dim=1)
    high = torch.maximum(torch.maximum(red, green), blue)
    low = torch.minimum(torch.minimum(red, green), blue)
    chroma = high - low
    per_chroma = chroma.clamp(min=_SMALLEST_CHROMA).reciprocal_()
    # 1 where this primary is the highest, else 0. Blending by it costs a fraction of what
    # torch.where does on a CPU, as frac_ does of remainder_, and gives the same.
    is_red = (red - high).sign_().add_(1)
    is_green = (green - high).sign_().add_(1)
    sixths = (
        (red - green)
        .mul_(per_chroma)
        .add_(4)
        .lerp((blue - red).mul_(per_chroma).add_(2), is_green)
        .lerp((green - blue).mul_(per_chroma), is_red)
    )
    sixths = (sixths / 6).add_(turns[:, None, None, None]).add_(1).frac_().mul_(6)

    # Each primary's level is a trapezoid of the hue; value and saturation fix its floor and height.
    level = torch.cat(
        [
            (sixths - 3).abs_().sub_(1),
            (sixths - 2).abs_().neg_().add_(2),
            (sixths - 4).abs_().neg_().add_(2),
        ],
        dim=1,
    )
    return level.clamp_(0, 1).mul_(chroma).add_(low)


def solarize(crops: Tensor) -> Tensor:
    """Invert the pixels at or above 128/255, as ``PIL.ImageOps.solarize``."""
    return crops.lerp(1 - crops, (crops >= _SOLARIZE_FROM).to(crops.dtype))
