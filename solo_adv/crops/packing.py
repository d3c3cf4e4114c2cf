"""Crop parameters packed into one tensor, in the form that the batched operations use."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from solo_adv.crops.parameters import HUE, CropParameters

CUTTING = 2
"""The cost of cutting a crop, relative to that of one colour operation on it."""
BLENDS = 3
"""Number of blends: brightness, contrast and saturation, which each crop gets in its own order."""
_BOX_ROWS = 5
_JITTER_ROWS = (BLENDS + 1) + BLENDS * BLENDS
NUM_ROWS = _BOX_ROWS + _JITTER_ROWS + 3


class CropSettings(NamedTuple):
    """What is done to N crops: float32 tensors of one shape, for instance (N,). 0 means "not done".

    Attributes:
        top, left, height, width: Box in source pixels.
        flip: 1 to flip left-right.
        turns: The hue shifts before the first, second and third blend, and after the third, in
            turns of the colour wheel. At most one of a crop's four is not 0.
        amounts: For the first, second and third blend, three amounts (brightness, contrast,
            saturation), each 1 minus the factor. At most one of the three is not 0: that of the
            blend which the crop undergoes in this place.
        grayscale: 1 to drop the colour.
        blur_sigma: Standard deviation in output pixels.
        solarize: 1 to solarise.
    """

    top: Tensor
    left: Tensor
    height: Tensor
    width: Tensor
    flip: Tensor
    turns: tuple[Tensor, ...]
    amounts: tuple[tuple[Tensor, ...], ...]
    grayscale: Tensor
    blur_sigma: Tensor
    solarize: Tensor


def pack(parameters: CropParameters) -> Tensor:
    """Pack the settings of N crops into one tensor (NUM_ROWS, N), so that one copy sends them."""
    order = parameters.jitter_order
    hue_place = (order == HUE).int().argmax(dim=1)
    blends = order[order != HUE].view(-1, BLENDS).T
    factors = torch.stack([parameters.brightness, parameters.contrast, parameters.saturation])
    kinds = torch.arange(BLENDS)[:, None]
    places = torch.arange(BLENDS + 1)[:, None]
    rows = [
        torch.stack([parameters.top, parameters.left, parameters.height, parameters.width]),
        parameters.flip[None],
        torch.where(hue_place == places, parameters.hue, 0.0),
        torch.where(blends[:, None] == kinds, 1 - factors, 0.0).flatten(0, 1),
        parameters.grayscale[None],
        parameters.blur_sigma[None],
        parameters.solarize[None],
    ]
    return torch.cat([row.float() for row in rows])


def unpack(packed: Tensor) -> CropSettings:
    """The rows of a packed tensor (NUM_ROWS, ...) by name, as views of it."""
    top, left, height, width, flip, *jitter, grayscale, blur_sigma, solarize = packed.unbind(0)
    turns, amounts = jitter[: BLENDS + 1], jitter[BLENDS + 1 :]
    return CropSettings(
        top=top,
        left=left,
        height=height,
        width=width,
        flip=flip,
        turns=tuple(turns),
        amounts=tuple(
            tuple(amounts[first : first + BLENDS]) for first in range(0, len(amounts), BLENDS)
        ),
        grayscale=grayscale,
        blur_sigma=blur_sigma,
        solarize=solarize,
    )


def jitter_order(packed: Tensor) -> Tensor:
    """Sort the crops so that those with the same jitter operations in the same order are adjacent.

    Args:
        packed: Settings (NUM_ROWS, N).

    Returns:
        Indices of the crops, int64 (N,).
    """
    done = packed[_BOX_ROWS : _BOX_ROWS + _JITTER_ROWS] != 0
    values = 2 ** torch.arange(_JITTER_ROWS).flip(0)
    return (done * values[:, None]).sum(dim=0).argsort(stable=True)


def equal_work(packed: Tensor, order: Tensor, parts: int) -> Sequence[Tensor]:
    """Split an order of the crops into parts that take about the same time, one for each thread.

    Args:
        packed: Settings (NUM_ROWS, N).
        order: Indices of the crops, int64 (N,).
        parts: Number of parts.
    """
    operations = (packed[_BOX_ROWS:] != 0).sum(dim=0)[order]
    done = (operations + CUTTING).cumsum(dim=0)
    return order.tensor_split(torch.searchsorted(done, done[-1] * torch.arange(1, parts) / parts))
