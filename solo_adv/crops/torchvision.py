"""Crops one by one with PIL and torchvision: slow, but the yardstick for the other backends."""

from __future__ import annotations

import torch
from PIL import Image, ImageFilter
from torch import Tensor
from torchvision import transforms
from torchvision.transforms import functional

from solo_adv.crops.images import as_unit_float, border_of, check_images
from solo_adv.crops.spec import CropSpec


class TorchvisionCrops:
    """The crops of the reference code of EMP-SSL and CF-AMC-SSL, transform by transform.

    Args:
        spec: What to draw.
        seed: Seed of the random numbers. The crops have the same distribution as those of
            `TorchCrops`, but a seed gives other ones.
        memory_format: Memory layout of the crops.

    Attributes:
        transform: Makes one crop, float (3, size, size), of a PIL image; uses torch's global
            random number generator.
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
        self._state = torch.Generator().manual_seed(seed).get_state()
        self.transform = _transform(spec)

    def respec(self, spec: CropSpec) -> None:
        """Draw from another spec from now on; the random numbers go on as they were.

        Raises:
            UserError: ``num_crops`` or ``size`` would change.
        """
        self.spec.check_same_shape(spec)
        self.spec, self.transform = spec, _transform(spec)

    def __call__(self, images: Tensor) -> Tensor:
        """Draw V random crops of every image.

        Args:
            images: (B, 3, H, W) in uint8, or float with pixels in [0, 1], which are rounded to
                8 bits; on any device.

        Returns:
            Crops with pixels in [0, 1], view-major; float32 (V*B, 3, size, size), same device.

        Raises:
            UserError: The images have another shape, type or range.
        """
        check_images(images)
        pixels = as_unit_float(images.detach().cpu()).mul(255).round().to(torch.uint8)
        pictures = [functional.to_pil_image(image) for image in pixels]
        with torch.random.fork_rng(devices=[]):
            torch.set_rng_state(self._state)
            crops = [
                self.transform(picture) for _ in range(self.spec.num_crops) for picture in pictures
            ]
            self._state = torch.get_rng_state()
        return torch.stack(crops).to(images.device, memory_format=self.memory_format)

    def state_dict(self) -> dict[str, Tensor]:
        """The state of the random number generator, for a checkpoint."""
        return {"generator": self._state.clone()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Continue with the random numbers from a saved state."""
        self._state = state["generator"].cpu().clone()


def _transform(spec: CropSpec) -> transforms.Compose:
    jitter = transforms.ColorJitter(spec.brightness, spec.contrast, spec.saturation, spec.hue)
    return transforms.Compose(
        [
            _Border(spec.pad),
            transforms.RandomResizedCrop(
                spec.size,
                scale=spec.scale,
                ratio=spec.ratio,
                interpolation=transforms.InterpolationMode(spec.interpolation),
            ),
            transforms.RandomHorizontalFlip(spec.flip_prob),
            transforms.RandomApply([jitter], p=spec.jitter_prob),
            transforms.RandomGrayscale(spec.grayscale_prob),
            transforms.RandomApply([_GaussianBlur(spec.blur_sigma)], p=spec.blur_prob),
            transforms.RandomSolarize(128, p=spec.solarize_prob),
            transforms.ToTensor(),
        ]
    )


class _Border:
    def __init__(self, share: float) -> None:
        self.share = share

    def __call__(self, picture: Image.Image) -> Image.Image:
        width, height = picture.size
        border = [border_of(side, self.share) for side in (width, height)]
        return functional.pad(picture, border)


class _GaussianBlur:
    def __init__(self, sigma: tuple[float, float]) -> None:
        self.sigma = sigma

    def __call__(self, picture: Image.Image) -> Image.Image:
        sigma = torch.empty(1).uniform_(*self.sigma).item()
        return picture.filter(ImageFilter.GaussianBlur(sigma))
