from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

from solo_adv.crops import CropParameters

PILOperation = Callable[[Image.Image], Image.Image]


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def make_images() -> Callable[..., Tensor]:
    """A function that makes colourful uint8 images with smooth parts and fine grain."""

    def make(count: int = 4, height: int = 40, width: int = 60, seed: int = 0) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        coarse = torch.rand(count, 3, 5, 5, generator=generator)
        smooth = interpolate(coarse, size=(height, width), mode="bicubic")
        grain = 0.1 * torch.rand(count, 3, height, width, generator=generator)
        return (smooth + grain).clamp(0, 1).mul(255).round().to(torch.uint8)

    return make


@pytest.fixture
def through_pil() -> Callable[[Tensor, PILOperation], Tensor]:
    """A function that applies a PIL operation to uint8 images and returns float crops."""

    def run(images: Tensor, operation: PILOperation) -> Tensor:
        pictures = [Image.fromarray(image.permute(1, 2, 0).numpy()) for image in images]
        results = np.stack([np.array(operation(picture)) for picture in pictures])
        return torch.from_numpy(results).permute(0, 3, 1, 2).float() / 255

    return run


@pytest.fixture
def make_parameters() -> Callable[..., CropParameters]:
    """A function that makes parameters which change nothing, except for the given ones."""

    def make(count: int, height: int, width: int, **changes: Any) -> CropParameters:
        unchanged: dict[str, Any] = {
            "top": 0,
            "left": 0,
            "height": height,
            "width": width,
            "flip": False,
            "brightness": 1.0,
            "contrast": 1.0,
            "saturation": 1.0,
            "hue": 0.0,
            "grayscale": False,
            "blur_sigma": 0.0,
            "solarize": False,
        }
        order = torch.as_tensor(changes.pop("jitter_order", [0, 1, 2, 3]))
        assert changes.keys() <= unchanged.keys()
        values = {
            name: torch.as_tensor(value).expand(count)
            for name, value in (unchanged | changes).items()
        }
        return CropParameters(**values, jitter_order=order.expand(count, 4))

    return make
