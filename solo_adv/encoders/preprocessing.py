"""Brings a PIL image to the pixels that an encoder takes."""

from typing import TYPE_CHECKING

from PIL import Image

from solo_adv.data.decoding import as_rgb
from solo_adv.support.errors import UserError

if TYPE_CHECKING:
    from torchvision.transforms.v2 import Compose


def preprocessing(side: int, crop: int | None = None) -> "Compose":
    """A transform of torchvision from a PIL image of any size to pixels, as evaluations do it.

    Args:
        side: side in pixels to which the image is brought: its shorter side is resized (bicubic)
            and its centre cropped.
        crop: side of the centre, in pixels; None is ``side``.

    Returns:
        A transform from a PIL image to float (3, crop, crop) in [0, 1]. It can be pickled, so that
        the workers of a DataLoader can use it.
    """
    import torch  # noqa: PLC0415
    from torchvision.transforms import v2  # noqa: PLC0415  takes seconds

    return v2.Compose(
        [
            v2.Lambda(rgb),
            v2.Resize(side, interpolation=v2.InterpolationMode.BICUBIC, antialias=True),
            v2.CenterCrop(crop or side),
            v2.PILToTensor(),
            v2.ToDtype(torch.float32, scale=True),
        ]
    )


def rgb(image: Image.Image) -> Image.Image:
    """Convert a PIL image of any mode to RGB with 8 bits a channel.

    Raises:
        UserError: it is no PIL image, or the range of its pixels is not known.
    """
    if not isinstance(image, Image.Image):
        raise UserError(
            f"encoder.preprocess takes a PIL image, not {type(image).__name__}; tensors "
            "(N, 3, H, W) in [0, 1] go to the encoder directly."
        )
    try:
        return as_rgb(image)
    except ValueError as error:
        raise UserError(f"encoder.preprocess cannot read the image: {error}.") from error
