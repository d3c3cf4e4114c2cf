"""Random crops: one spec says what to draw, and several backends draw it."""

import torch

from solo_adv.crops.images import as_unit_float
from solo_adv.crops.options import BACKENDS, CropOptions, read_crops
from solo_adv.crops.parameters import CropParameters
from solo_adv.crops.pipeline import CropPipeline
from solo_adv.crops.spec import CropSpec
from solo_adv.crops.views import join_views

__all__ = [
    "BACKENDS",
    "CropOptions",
    "CropParameters",
    "CropPipeline",
    "CropSpec",
    "as_unit_float",
    "build",
    "join_views",
    "read_crops",
]


def build(
    spec: CropSpec,
    backend: str = "torch",
    seed: int = 0,
    *,
    chunk: int | None = None,
    compile: bool = False,
    memory_format: torch.memory_format = torch.contiguous_format,
) -> CropPipeline:
    """Build the crop pipeline of a spec.

    Args:
        spec: What to draw.
        backend: ``torch`` (batched, on the images' device), ``dali`` (DALI cuts and resizes,
            torch does the rest) or ``torchvision`` (PIL, crop by crop, the yardstick).
        seed: Seed of the random numbers.
        chunk: Number of crops processed at a time, which bounds the memory; None chooses a number
            that suits the device.
        compile: Whether the operations go through ``torch.compile``.
        memory_format: Memory layout of the crops.

    Raises:
        UserError: The backend is unknown or not installed, or does not have an option.
    """
    CropOptions(backend=backend, chunk=chunk, compile=compile)
    # A backend's libraries are imported only when it is used.
    if backend == "torchvision":
        from solo_adv.crops.torchvision import TorchvisionCrops  # noqa: PLC0415

        return TorchvisionCrops(spec, seed, memory_format=memory_format)
    from solo_adv.crops.torch import TorchCrops  # noqa: PLC0415

    crops = TorchCrops(spec, seed, chunk=chunk, compiled=compile, memory_format=memory_format)
    if backend == "dali":
        from solo_adv.crops.dali import DaliCrops  # noqa: PLC0415

        return DaliCrops(crops)
    return crops
