"""The one check of images that crops, attacks and encoders make before they use them."""

from math import isfinite

import torch
from torch import Tensor

from solo_adv.support.errors import UserError

SLACK = 1e-5
"""How far rounding may take a pixel out of [0, 1]."""


class PixelCheck:
    """Refuses images that are not pixels in [0, 1].

    Reading values from an accelerator waits for it. There, the values of the first batch alone are
    looked at, because wrong images are wrong from the first one on.

    Args:
        taker: who takes the images, as the beginning of a sentence, such as ``Attacks``.
        bytes_too: whether uint8 is accepted.
        stacked: whether an image may have several times three channels, one stack of crops each.
    """

    def __init__(self, taker: str, *, bytes_too: bool = False, stacked: bool = False) -> None:
        self.taker = taker
        self.bytes_too = bytes_too
        self.stacked = stacked
        self._looked = False

    def __call__(self, images: Tensor) -> None:
        """Check a batch.

        Args:
            images: what should be pixels (N, 3, H, W).

        Raises:
            UserError: it is no tensor, the shape, the type or the range is wrong, or a value is not
                finite; the message names the remedy.
        """
        if torch.compiler.is_compiling() or torch.jit.is_tracing():
            return
        if not isinstance(images, Tensor):
            raise UserError(
                f"{self.taker} take a tensor of images (N, 3, H, W); got {type(images).__name__}. "
                "Give torch.from_numpy of an array, torch.stack of a list of tensors, or "
                "encoder.preprocess(image)[None] for a PIL image."
            )
        self._check_shape(tuple(images.shape))
        if images.dtype == torch.uint8:
            if not self.bytes_too:
                raise UserError(
                    f"{self.taker} take float images with pixels in [0, 1]; got uint8. Give "
                    "images.float() / 255."
                )
            return
        if not images.is_floating_point():
            kinds = "uint8 or float" if self.bytes_too else "float"
            raise UserError(f"{self.taker} take {kinds} images; got {images.dtype}.")
        if images.device.type == "cpu" or not self._looked:
            self._look(images)
            self._looked = True

    def _check_shape(self, shape: tuple[int, ...]) -> None:
        stacks = self.stacked and len(shape) == 4 and shape[1] % 3 == 0
        if len(shape) == 4 and (shape[1] == 3 or stacks) and 0 not in shape:
            return
        remedy = ""
        if len(shape) == 3 and shape[0] == 3:
            remedy = " Give images[None] for a single image."
        elif len(shape) == 4 and shape[3] == 3:
            remedy = " Give images.permute(0, 3, 1, 2)."
        elif len(shape) == 4 and shape[1] == 1:
            remedy = " Give images.expand(-1, 3, -1, -1) for grey images."
        raise UserError(
            f"{self.taker} take images of shape (N, 3, H, W) without empty dimensions; got "
            f"{shape}.{remedy}"
        )

    def _look(self, images: Tensor) -> None:
        try:
            low, high = (bound.item() for bound in images.detach().aminmax())
        except RuntimeError:
            return  # tensors without values, as under vmap and in rehearsals
        if low >= -SLACK and high <= 1 + SLACK:
            return
        found = f"{low:g} to {high:g}"
        if not (isfinite(low) and isfinite(high)):
            found, remedy = "values that are not finite", "Find where they come from."
        elif low < -SLACK:
            remedy = "Undo the normalisation; it is part of the network here (data.mean, data.std)."
        elif high > 2:
            remedy = "Divide by 255."
        else:
            remedy = "Clamp what interpolation has carried beyond."
        raise UserError(f"{self.taker} take images with pixels in [0, 1]; got {found}. {remedy}")
