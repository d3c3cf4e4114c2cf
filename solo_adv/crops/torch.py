"""Crops of a whole batch at once, on the device that holds the images."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from solo_adv.crops.blur import blur
from solo_adv.crops.color import blend_, grayscale, shift_hue, solarize
from solo_adv.crops.images import as_unit_float, check_images
from solo_adv.crops.parameters import CONTRAST, HUE, SATURATION, CropParameters, draw
from solo_adv.crops.resampling import crop_and_resize
from solo_adv.crops.spec import CropSpec
from solo_adv.errors import UserError


class TorchCrops:
    """The batched crop backend.

    It computes what PIL computes, but without rounding to 8 bits after each operation. It never
    waits for the device: all that decides shapes and indices is drawn on the CPU.

    Args:
        spec: What to draw.
        seed: Seed of the random numbers.
        memory_format: Memory layout of the crops.
    """

    def __init__(
        self,
        spec: CropSpec,
        seed: int = 0,
        *,
        memory_format: torch.memory_format = torch.contiguous_format,
    ) -> None:
        self.spec = spec
        self.memory_format = memory_format
        self._generator = torch.Generator().manual_seed(seed)

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """Draw V random crops of every image.

        Args:
            images: uint8, or float with pixels in [0, 1]; (B, 3, H, W), on any device.

        Returns:
            Crops with pixels in [0, 1], view-major; float32 (V*B, 3, size, size), same device.

        Raises:
            UserError: The images have another shape, type or range.
        """
        check_images(images)
        batch, _, height, width = images.shape
        return self._crop(images, draw(self.spec, batch, height, width, self._generator))

    def apply(self, images: Tensor, parameters: CropParameters) -> Tensor:
        """Crop with given parameters: the deterministic part of a call, differentiable in images.

        Args:
            images: As in a call.
            parameters: Of N crops, view-major, where N is a multiple of the number of images.

        Returns:
            Crops as in a call, (N, 3, size, size).

        Raises:
            UserError: The images are not accepted, or N is not a multiple of their number.
        """
        check_images(images)
        if len(parameters) == 0 or len(parameters) % len(images):
            raise UserError(
                f"The parameters must be those of the same number of crops of each image; "
                f"got {len(parameters)} for {len(images)} images."
            )
        return self._crop(images, parameters)

    def state_dict(self) -> dict[str, Tensor]:
        """The state of the random numbers, for a checkpoint."""
        return {"generator": self._generator.get_state()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Continue from a saved state as if never stopped."""
        self._generator.set_state(state["generator"].cpu())

    def _crop(self, images: Tensor, parameters: CropParameters) -> Tensor:
        # Autocast would cost the crops more precision than rounding to 8 bits does.
        with _without_autocast(images.device):
            crops = self._resample(as_unit_float(images), parameters)
            _jitter_(crops, parameters)
            _rewrite_(crops, parameters.grayscale, grayscale)
            _rewrite_(crops, parameters.blur_sigma > 0, blur, parameters.blur_sigma)
            _rewrite_(crops, parameters.solarize, solarize)
        return crops.contiguous(memory_format=self.memory_format)

    def _resample(self, images: Tensor, parameters: CropParameters) -> Tensor:
        edges = [parameters.top, parameters.left, parameters.height, parameters.width]
        boxes = _send(torch.stack([*edges, parameters.flip]).float(), images.device)
        top, left, height, width, flip = boxes.view(5, -1, len(images))
        crops = crop_and_resize(
            images,
            top=top,
            left=left,
            height=height,
            width=width,
            flip=flip.bool(),
            size=self.spec.size,
            interpolation=self.spec.interpolation,
        )
        # Bilinear crops leave the box by rounding only; that must not cost white pixels their
        # gradient.
        with torch.set_grad_enabled(torch.is_grad_enabled() and self._overshoots):
            return crops.clamp_(0, 1)

    @property
    def _overshoots(self) -> bool:
        return self.spec.interpolation != "bilinear"


def _jitter_(crops: Tensor, parameters: CropParameters) -> None:
    """Apply the four jitter operations to each crop in its own order, in place.

    Brightness, contrast and saturation are one kind of blend, so three blends of the whole batch
    serve every order of them; the hue is turned before the blend that it precedes in a crop's
    order.
    """
    order = parameters.jitter_order
    hue_place = (order == HUE).int().argmax(dim=1)
    blends = order[order != HUE].view(-1, 3)
    factors = [parameters.brightness, parameters.contrast, parameters.saturation]
    change = 1 - torch.stack(factors, dim=1).gather(1, blends)
    settings = torch.stack([change, (blends == CONTRAST).float(), (blends == SATURATION).float()])
    settings = _send(settings, crops.device)[..., None, None, None]

    turned = parameters.hue != 0
    for stage in range(3):
        _rewrite_(crops, turned & (hue_place == stage), shift_hue, parameters.hue)
        if change[:, stage].any():
            amount, to_mean, to_gray = settings[:, :, stage]
            blend_(crops, amount=amount, to_mean=to_mean, to_gray=to_gray)
    _rewrite_(crops, turned & (hue_place == 3), shift_hue, parameters.hue)


def _rewrite_(
    crops: Tensor, chosen: Tensor, operation: Callable[..., Tensor], *settings: Tensor
) -> None:
    """Replace the chosen crops by what the operation makes of them, in place.

    Args:
        crops: Crops (N, 3, h, w).
        chosen: Which of them; bool (N,), on the CPU.
        operation: Takes some crops and their settings, and returns as many.
        *settings: One entry per crop; (N,), on the CPU.
    """
    if chosen.any():
        where = _send(chosen.nonzero()[:, 0], crops.device)
        theirs = [_send(setting[chosen], crops.device) for setting in settings]
        crops.index_copy_(0, where, operation(crops.index_select(0, where), *theirs))


def _send(tensor: Tensor, device: torch.device) -> Tensor:
    """Copy a CPU tensor to the device without waiting for what the device is doing."""
    if device.type == "cuda":
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)


def _without_autocast(device: torch.device) -> AbstractContextManager[object]:
    if torch.amp.is_autocast_available(device.type):
        return torch.autocast(device.type, enabled=False)
    return nullcontext()
