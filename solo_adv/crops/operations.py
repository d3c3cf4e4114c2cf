"""All operations on a batch of crops, in the order of the spec.

What only some crops undergo is applied in one of two ways with the same result: to the chosen
crops alone, which costs least where work is paid by the pixel, or to all with the others put back,
which keeps every shape fixed, for ``torch.compile``.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from solo_adv.crops.blur import blur
from solo_adv.crops.color import blend_, grayscale, shift_hue, solarize
from solo_adv.crops.images import as_unit_float
from solo_adv.crops.resampling import crop_and_resize
from solo_adv.crops.settings import BLENDS, unpack

Operation = Callable[[Tensor, Tensor], Tensor]
Rewrite = Callable[[Tensor, Tensor, Tensor, Operation], Tensor]


def cut(images: Tensor, settings: Tensor, *, size: int, interpolation: str) -> Tensor:
    """Crop, resize and flip: crops (V*B, 3, size, size), view-major, with pixels in [0, 1].

    Args:
        images: uint8, or float with pixels in [0, 1]; (B, 3, H, W).
        settings: Packed settings (NUM_ROWS, V, B), on the images' device.
        size: Side of the crops in pixels.
        interpolation: ``bilinear`` or ``bicubic``.
    """
    box = unpack(settings)
    crops = crop_and_resize(
        as_unit_float(images),
        top=box.top,
        left=box.left,
        height=box.height,
        width=box.width,
        flip=box.flip != 0,
        size=size,
        interpolation=interpolation,
    )
    # Bilinear crops leave the box by rounding only; that must not cost white pixels their
    # gradient.
    with torch.set_grad_enabled(torch.is_grad_enabled() and interpolation != "bilinear"):
        return crops.clamp_(0, 1)


def recolor(crops: Tensor, settings: Tensor, choices: Tensor, rewrite: Rewrite) -> Tensor:
    """Colour jitter, grayscale, blur and solarise; may overwrite the crops.

    Args:
        crops: Crops (N, 3, size, size) with pixels in [0, 1].
        settings: Packed settings (NUM_ROWS, ...) of N crops, on their device.
        choices: The same where ``rewrite`` reads which crops an operation is meant for.
        rewrite: How an operation that is not meant for all crops is applied.
    """
    given, chosen = unpack(settings.flatten(1)), unpack(choices.flatten(1))
    for place in range(BLENDS):
        crops = rewrite(crops, given.turns[place], chosen.turns[place], shift_hue)
        # Where nothing blends, its clamp would cost black and white pixels their gradient.
        if rewrite is rewrite_all or chosen.amount[place].any():
            crops = blend_(
                crops,
                amount=_per_crop(given.amount[place]),
                to_mean=_per_crop(given.to_mean[place]),
                to_gray=_per_crop(given.to_gray[place]),
            )
    crops = rewrite(crops, given.turns[BLENDS], chosen.turns[BLENDS], shift_hue)
    crops = rewrite(crops, given.grayscale, chosen.grayscale, lambda some, _: grayscale(some))
    crops = rewrite(crops, given.blur_sigma, chosen.blur_sigma, blur)
    return rewrite(crops, given.solarize, chosen.solarize, lambda some, _: solarize(some))


def rewrite_chosen(
    crops: Tensor, settings: Tensor, choices: Tensor, operation: Operation
) -> Tensor:
    """Replace the chosen crops by what the operation makes of them, in place.

    Args:
        crops: Crops (N, 3, h, w).
        settings: What the operation takes beside the crops; (N,), on their device.
        choices: Those crops are chosen where it is not 0; (N,), on the CPU.
        operation: Takes some crops and their settings, and returns as many.
    """
    where = choices.nonzero()[:, 0]
    if len(where):
        where = send(where, crops.device)
        result = operation(crops.index_select(0, where), settings.index_select(0, where))
        crops.index_copy_(0, where, result)
    return crops


def rewrite_all(crops: Tensor, settings: Tensor, choices: Tensor, operation: Operation) -> Tensor:
    """:func:`rewrite_chosen` with fixed shapes: new crops, and no choice is read from the device.

    Args:
        crops: Crops (N, 3, h, w).
        settings: What the operation takes beside the crops; (N,), on their device.
        choices: Those crops are chosen where it is not 0; (N,), on their device.
        operation: Takes some crops and their settings, and returns as many.
    """
    return torch.where(_per_crop(choices) != 0, operation(crops, settings), crops)


def send(tensor: Tensor, device: torch.device) -> Tensor:
    """Copy a CPU tensor to the device without waiting for what the device is doing."""
    if device.type == "cuda":
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)


def _per_crop(settings: Tensor) -> Tensor:
    return settings[:, None, None, None]
