"""Random crops: one spec of what to draw, several backends that draw it."""

from solo_adv.crops.images import as_unit_float
from solo_adv.crops.parameters import CropParameters
from solo_adv.crops.pipeline import CropPipeline
from solo_adv.crops.spec import CropSpec
from solo_adv.errors import unknown

__all__ = ["BACKENDS", "CropParameters", "CropPipeline", "CropSpec", "as_unit_float", "build"]

BACKENDS = ("torch", "torchvision")


def build(spec: CropSpec, backend: str = "torch", seed: int = 0) -> CropPipeline:
    """The crop pipeline of a spec.

    Args:
        spec: What to draw.
        backend: ``torch`` (batched, on the images' device) or ``torchvision`` (PIL, crop by crop,
            the yardstick).
        seed: Seed of the random numbers.

    Raises:
        UserError: Unknown backend.
    """
    # A backend's libraries are imported only when it is used.
    if backend == "torch":
        from solo_adv.crops.torch import TorchCrops  # noqa: PLC0415

        return TorchCrops(spec, seed)
    if backend == "torchvision":
        from solo_adv.crops.torchvision import TorchvisionCrops  # noqa: PLC0415

        return TorchvisionCrops(spec, seed)
    raise unknown("crops.backend", backend, BACKENDS)
