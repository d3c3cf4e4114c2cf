"""The random numbers of a batch of crops, drawn on the CPU whatever the device."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from solo_adv.crops.spec import CropSpec

BRIGHTNESS, CONTRAST, SATURATION, HUE = range(4)

_BOX_ATTEMPTS = 10


@dataclass(frozen=True, eq=False, kw_only=True)
class CropParameters:
    """What is done to each of N = V*B crops, view-major, as tensors on the CPU.

    Attributes:
        top, left, height, width: Box in source pixels; int64 (N,).
        flip: Whether to flip left-right; bool (N,).
        brightness, contrast, saturation: Blend factors, 1 for no change; float32 (N,).
        hue: Shift in turns of the colour wheel, 0 for no change; float32 (N,).
        jitter_order: The four jitter operations in the order to apply them: a permutation of
            ``BRIGHTNESS, CONTRAST, SATURATION, HUE``; int64 (N, 4).
        grayscale: Whether to drop the colour; bool (N,).
        blur_sigma: Standard deviation in output pixels, 0 for no blur; float32 (N,).
        solarize: Whether to solarise; bool (N,).
    """

    top: Tensor
    left: Tensor
    height: Tensor
    width: Tensor
    flip: Tensor
    brightness: Tensor
    contrast: Tensor
    saturation: Tensor
    hue: Tensor
    jitter_order: Tensor
    grayscale: Tensor
    blur_sigma: Tensor
    solarize: Tensor

    def __len__(self) -> int:
        return len(self.top)


def draw(
    spec: CropSpec, batch_size: int, height: int, width: int, generator: torch.Generator
) -> CropParameters:
    """Draw the parameters of ``spec.num_crops * batch_size`` crops of (height, width) images.

    All numbers come from ``generator``, which is on the CPU. A seed therefore gives the same crops
    on every device, drawing does not wait for a device, and a checkpoint only needs the generator's
    state.
    """
    count = spec.num_crops * batch_size

    def hit(probability: float) -> Tensor:
        return torch.rand(count, generator=generator, dtype=torch.float32) < probability

    def between(low: float, high: float) -> Tensor:
        unit = torch.rand(count, generator=generator, dtype=torch.float32)
        return unit.mul_(high - low).add_(low)

    def factor(strength: float) -> Tensor:
        return torch.where(jitter, between(max(0.0, 1 - strength), 1 + strength), 1.0)

    top, left, box_height, box_width = _draw_boxes(spec, count, height, width, generator)
    flip = hit(spec.flip_prob)
    jitter = hit(spec.jitter_prob)
    return CropParameters(
        top=top,
        left=left,
        height=box_height,
        width=box_width,
        flip=flip,
        brightness=factor(spec.brightness),
        contrast=factor(spec.contrast),
        saturation=factor(spec.saturation),
        hue=torch.where(jitter, between(-spec.hue, spec.hue), 0.0),
        jitter_order=torch.rand(count, 4, generator=generator, dtype=torch.float64).argsort(dim=1),
        grayscale=hit(spec.grayscale_prob),
        blur_sigma=torch.where(hit(spec.blur_prob), between(*spec.blur_sigma), 0.0),
        solarize=hit(spec.solarize_prob),
    )


def _draw_boxes(
    spec: CropSpec, count: int, height: int, width: int, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Draw boxes with the distribution of torchvision's ``RandomResizedCrop.get_params``.

    The first of ten attempts that fits the image is placed at a uniform integer position; if none
    fits, the box is central.
    """

    def between(low: float, high: float) -> Tensor:
        unit = torch.rand(_BOX_ATTEMPTS, count, generator=generator, dtype=torch.float64)
        return unit.mul_(high - low).add_(low)

    def position(room: Tensor, central: int) -> Tensor:
        unit = torch.rand(count, generator=generator, dtype=torch.float64)
        return torch.where(found, (unit * (room + 1)).long(), central)

    area = between(*spec.scale) * (height * width)
    ratio = between(math.log(spec.ratio[0]), math.log(spec.ratio[1])).exp_()
    widths = (area * ratio).sqrt_().round_().long()
    heights = (area / ratio).sqrt_().round_().long()
    fits = (widths > 0) & (widths <= width) & (heights > 0) & (heights <= height)

    found = fits.any(dim=0)
    first = fits.int().argmax(dim=0, keepdim=True)
    central_height, central_width = _central_box(spec.ratio, height, width)
    box_height = torch.where(found, heights.gather(0, first)[0], central_height)
    box_width = torch.where(found, widths.gather(0, first)[0], central_width)
    top = position(height - box_height, (height - central_height) // 2)
    left = position(width - box_width, (width - central_width) // 2)
    return top, left, box_height, box_width


def _central_box(ratio: tuple[float, float], height: int, width: int) -> tuple[int, int]:
    """Height and width of the largest box whose ratio is nearest to the accepted ones."""
    narrowest, widest = ratio
    if width / height < narrowest:
        return max(1, round(width / narrowest)), width
    if width / height > widest:
        return height, max(1, round(height * widest))
    return height, width
