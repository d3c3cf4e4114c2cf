"""Crop parameters as one tensor, in the form in which the batched operations use them."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from solo_adv.crops.parameters import CONTRAST, HUE, SATURATION, CropParameters

BLENDS = 3
"""Brightness, contrast and saturation: one kind of operation, applied so many times."""
NUM_ROWS = 5 + 3 * BLENDS + (BLENDS + 1) + 3


class CropSettings(NamedTuple):
    """What is done to N crops; float32, of one shape, for instance (N,). 0 stands for "not".

    Attributes:
        top, left, height, width: Box in source pixels.
        flip: 1 to flip left-right.
        amount, to_mean, to_gray: For each of the three blends, in each crop's own order: 1 minus
            the factor, 1 if it is the contrast, 1 if it is the saturation.
        turns: Shift of the hue before the first, second and third blend, and after the third.
        grayscale: 1 to drop the colour.
        blur_sigma: Standard deviation in output pixels.
        solarize: 1 to solarise.
    """

    top: Tensor
    left: Tensor
    height: Tensor
    width: Tensor
    flip: Tensor
    amount: tuple[Tensor, ...]
    to_mean: tuple[Tensor, ...]
    to_gray: tuple[Tensor, ...]
    turns: tuple[Tensor, ...]
    grayscale: Tensor
    blur_sigma: Tensor
    solarize: Tensor


def pack(parameters: CropParameters) -> Tensor:
    """The settings of N crops as one tensor (NUM_ROWS, N), to be sent to a device at once."""
    order = parameters.jitter_order
    hue_place = (order == HUE).int().argmax(dim=1)
    blends = order[order != HUE].view(-1, BLENDS)
    factors = torch.stack(
        [parameters.brightness, parameters.contrast, parameters.saturation], dim=1
    )
    places = torch.arange(BLENDS + 1)[:, None]
    rows = [
        torch.stack([parameters.top, parameters.left, parameters.height, parameters.width]),
        parameters.flip[None],
        (1 - factors.gather(1, blends)).T,
        (blends == CONTRAST).T,
        (blends == SATURATION).T,
        torch.where(hue_place == places, parameters.hue, 0.0),
        parameters.grayscale[None],
        parameters.blur_sigma[None],
        parameters.solarize[None],
    ]
    return torch.cat([row.float() for row in rows])


def unpack(packed: Tensor) -> CropSettings:
    """The rows of a packed tensor (NUM_ROWS, ...) by name; views."""
    top, left, height, width, flip, *others = packed.unbind(0)
    *others, grayscale, blur_sigma, solarize = others
    return CropSettings(
        top=top,
        left=left,
        height=height,
        width=width,
        flip=flip,
        amount=tuple(others[:BLENDS]),
        to_mean=tuple(others[BLENDS : 2 * BLENDS]),
        to_gray=tuple(others[2 * BLENDS : 3 * BLENDS]),
        turns=tuple(others[3 * BLENDS :]),
        grayscale=grayscale,
        blur_sigma=blur_sigma,
        solarize=solarize,
    )
