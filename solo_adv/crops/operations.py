"""All operations on a batch of crops, in the order of the spec.

An operation that only some crops undergo is either applied to those alone, which costs least, or to
all crops and then kept for the chosen ones only, which keeps every shape fixed for
``torch.compile``. The result is the same.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from solo_adv.crops.blur import blur
from solo_adv.crops.color import (
    brightness_,
    contrast_,
    grayscale,
    saturation_,
    shift_hue,
    solarize,
)
from solo_adv.crops.images import as_unit_float
from solo_adv.crops.packing import BLENDS, unpack
from solo_adv.crops.resampling import crop_and_resize, crop_and_resize_few

Operation = Callable[[Tensor, Tensor], Tensor]
Rewrite = Callable[[Tensor, Tensor, Tensor, Operation], Tensor]

_BLENDS: tuple[Operation, ...] = (brightness_, contrast_, saturation_)


def cut(images: Tensor, settings: Tensor, *, size: int, interpolation: str) -> Tensor:
    """Crop, resize and flip: crops (V*B, 3, size, size), view-major, with pixels in [0, 1].

    Args:
        images: uint8, or float with pixels in [0, 1]; (B, 3, H, W).
        settings: Packed settings (NUM_ROWS, V, B), on the images' device.
        size: Side of the crops in pixels.
        interpolation: ``bilinear`` or ``bicubic``.
    """
    crops = crop_and_resize(
        as_unit_float(images),
        **_box(settings),
        size=size,
        interpolation=interpolation,
    )
    # Bilinear crops leave [0, 1] by rounding errors only, and clamping must not zero the gradient
    # of white pixels for that.
    with torch.set_grad_enabled(torch.is_grad_enabled() and interpolation != "bilinear"):
        return crops.clamp_(0, 1)


def cut_few(
    columns: Tensor, images: Tensor, settings: Tensor, *, size: int, interpolation: str
) -> Tensor:
    """Like :func:`cut`, for any crops in any order, on the CPU.

    Args:
        columns: The images as :func:`by_column` returns them.
        images: Index of each crop's image; int64 (N,).
        settings: Packed settings (NUM_ROWS, N).
        size: Side of the crops in pixels.
        interpolation: ``bilinear`` or ``bicubic``.
    """
    return crop_and_resize_few(
        columns, images, **_box(settings), size=size, interpolation=interpolation
    ).clamp_(0, 1)


def by_column(images: Tensor) -> Tensor:
    """Convert images (B, 3, H, W) to floats in [0, 1], laid out column by column: (B, W, 3, H)."""
    return as_unit_float(images.permute(0, 3, 1, 2).contiguous())


def _box(settings: Tensor) -> dict[str, Tensor]:
    box = unpack(settings)
    return {
        "top": box.top,
        "left": box.left,
        "height": box.height,
        "width": box.width,
        "flip": box.flip != 0,
    }


def recolor(
    crops: Tensor,
    settings: Tensor,
    choices: Tensor,
    rewrite: Rewrite,
    rewrite_jitter: Rewrite | None = None,
) -> Tensor:
    """Colour jitter, grayscale, blur and solarise; may overwrite the crops.

    Args:
        crops: Crops (N, 3, size, size) with pixels in [0, 1].
        settings: Packed settings (NUM_ROWS, ...) of the N crops, on their device.
        choices: The same settings, on the device where ``rewrite`` reads which crops to change.
        rewrite: Applies an operation to some of the crops; see :func:`rewrite_chosen`.
        rewrite_jitter: Used in its place for the operations of the jitter, if given.
    """
    given, chosen = unpack(settings.flatten(1)), unpack(choices.flatten(1))
    jitter = rewrite_jitter or rewrite
    for place in range(BLENDS):
        crops = jitter(crops, given.turns[place], chosen.turns[place], shift_hue)
        for blend, amount, choice in zip(
            _BLENDS, given.amounts[place], chosen.amounts[place], strict=True
        ):
            crops = jitter(crops, amount, choice, blend)
    crops = jitter(crops, given.turns[BLENDS], chosen.turns[BLENDS], shift_hue)
    crops = rewrite(crops, given.grayscale, chosen.grayscale, lambda some, _: grayscale(some))
    crops = rewrite(crops, given.blur_sigma, chosen.blur_sigma, blur)
    return rewrite(crops, given.solarize, chosen.solarize, lambda some, _: solarize(some))


def rewrite_runs(crops: Tensor, settings: Tensor, choices: Tensor, operation: Operation) -> Tensor:
    """Like :func:`rewrite_chosen`, on slices: fast if most of the chosen crops are adjacent.

    Not differentiable.
    """
    edges = np.flatnonzero(np.diff(choices.numpy() != 0, prepend=False, append=False))
    for start, stop in edges.reshape(-1, 2).tolist():
        some = crops[start:stop]
        result = operation(some, settings[start:stop])
        if result is not some:
            some.copy_(result)
    return crops


def rewrite_chosen(
    crops: Tensor, settings: Tensor, choices: Tensor, operation: Operation
) -> Tensor:
    """Apply an operation to the chosen crops, in place.

    Args:
        crops: Crops (N, 3, h, w).
        settings: The operation's second argument; (N,), on the crops' device.
        choices: Not 0 for the chosen crops; (N,), on the CPU.
        operation: Maps n crops and their n settings to n new crops.
    """
    where = choices.nonzero()[:, 0]
    if len(where):
        where = send(where, crops.device)
        result = operation(crops.index_select(0, where), settings.index_select(0, where))
        crops.index_copy_(0, where, result)
    return crops


def rewrite_all(crops: Tensor, settings: Tensor, choices: Tensor, operation: Operation) -> Tensor:
    """Like :func:`rewrite_chosen`, with fixed shapes and without reading from the device.

    Args:
        crops: Crops (N, 3, h, w); not overwritten.
        settings: The operation's second argument; (N,), on the crops' device.
        choices: Not 0 for the chosen crops; (N,), on the crops' device.
        operation: Maps N crops and their N settings to N new crops.
    """
    changed = operation(crops.clone(), settings)
    return torch.where(choices[:, None, None, None] != 0, changed, crops)


def put(some: Tensor, crops: Tensor, where: Tensor) -> None:
    """Write some crops into a larger batch.

    Args:
        some: The crops to write, (n, 3, h, w), contiguous.
        crops: The batch (N, 3, h, w), contiguous or channels last.
        where: Their indices in the batch; int64 (n,), on its device.
    """
    if crops.device.type != "cpu":
        crops.index_copy_(0, where, some)
    elif crops.is_contiguous():
        # NumPy is faster: it copies whole crops, torch copies single numbers.
        crops.numpy()[where.numpy()] = some.numpy()
    else:
        some = some.contiguous(memory_format=torch.channels_last).permute(0, 2, 3, 1)
        crops.permute(0, 2, 3, 1).numpy()[where.numpy()] = some.numpy()


def send(tensor: Tensor, device: torch.device) -> Tensor:
    """Copy a CPU tensor to the device without waiting for what the device is doing."""
    if device.type == "cuda":
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)
