"""The interface of every crop backend."""

from typing import Protocol

from torch import Tensor

from solo_adv.crops.spec import CropSpec


class CropPipeline(Protocol):
    """Draws V crops of each of B images (B, 3, H, W) as one view-major (V*B, 3, size, size)."""

    spec: CropSpec

    def __call__(self, images: Tensor) -> Tensor:
        """Draw the crops: float32 with pixels in [0, 1], on the images' device."""

    def respec(self, spec: CropSpec) -> None:
        """Draw from another spec from now on; the random numbers go on as they were.

        Raises:
            UserError: ``num_crops`` or ``size`` would change.
        """

    def state_dict(self) -> dict[str, Tensor]:
        """The state of the random number generator, for a checkpoint."""

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Continue with the random numbers from a saved state."""
