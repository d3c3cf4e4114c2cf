"""Crop parameters as one tensor, in the form in which the batched operations use them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from solo_adv.crops.parameters import HUE, CropParameters

CUTTING = 2
"""The work of cutting a crop out, in times of an operation on it."""
BLENDS = 3
"""Brightness, contrast and saturation, of which each crop undergoes all, in its own order."""
_BOX_ROWS = 5
_JITTER_ROWS = (BLENDS + 1) + BLENDS * BLENDS
NUM_ROWS = _BOX_ROWS + _JITTER_ROWS + 3


class CropSettings(NamedTuple):
    """What is done to N crops; float32, of one shape, for instance (N,). 0 stands for "not".

    Attributes:
        top, left, height, width: Box in source pixels.
        flip: 1 to flip left-right.
        turns: Shift of the hue before the first, second and third blend, and after the third.
        amounts: For the first, second and third blend, in each crop's own order: 1 minus the
            factor if it is the brightness; if it is the contrast; if it is the saturation.
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
    """The settings of N crops as one tensor (NUM_ROWS, N), to be sent to a device at once."""
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
    """The rows of a packed tensor (NUM_ROWS, ...) by name; views."""
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
    """An order of the crops in which those adjoin that jitter the same way, in the same order.

    Args:
        packed: Settings (NUM_ROWS, N).

    Returns:
        Numbers of the crops, int64 (N,).
    """
    done = packed[_BOX_ROWS : _BOX_ROWS + _JITTER_ROWS] != 0
    values = 2 ** torch.arange(_JITTER_ROWS).flip(0)
    return (done * values[:, None]).sum(dim=0).argsort(stable=True)


def equal_work(packed: Tensor, order: Tensor, parts: int) -> Sequence[Tensor]:
    """An order of the crops in parts that take about the same time, to be shared by threads.

    Args:
        packed: Settings (NUM_ROWS, N).
        order: Numbers of the crops, int64 (N,).
        parts: How many.
    """
    operations = (packed[_BOX_ROWS:] != 0).sum(dim=0)[order]
    done = (operations + CUTTING).cumsum(dim=0)
    return order.tensor_split(torch.searchsorted(done, done[-1] * torch.arange(1, parts) / parts))
