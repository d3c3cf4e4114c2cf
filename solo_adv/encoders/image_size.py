"""Checks that a network takes images of a size, before hours are spent on it."""

from contextlib import suppress
from typing import Any

import torch
from torch import nn

from solo_adv.encoders.encoder import Encoder
from solo_adv.support.errors import UserError
from solo_adv.support.progress import say


def takes(backbone: nn.Module, height: int, width: int) -> bool:
    """Whether a backbone computes features of images of this size; it tries one black image."""
    reference = next(backbone.parameters())
    training = [(module, module.training) for module in backbone.modules()]
    image = torch.zeros(1, 3, height, width, device=reference.device, dtype=reference.dtype)
    try:
        with torch.no_grad():
            backbone.eval()(image)
    except (AssertionError, RuntimeError, ValueError, IndexError):
        return False  # each network has its own way to refuse
    finally:
        for module, was in training:
            module.training = was
    return True


def require_sizes(backbone: nn.Module, name: str, crops: int, whole: tuple[int, int]) -> None:
    """Refuse to train a backbone that does not take the crops or the validation images.

    Args:
        backbone: the backbone, from images (N, 3, H, W) to features.
        name: its name, for the message.
        crops: side of the crops in pixels.
        whole: height and width of the validation images.

    Raises:
        UserError: it does not take them.
    """
    if not takes(backbone, crops, crops):
        raise UserError(
            f"backbone.name={name} does not take crops of {crops} pixels (crops.size): choose the "
            "size that it is built for."
        )
    if whole != (crops, crops) and not takes(backbone, *whole):
        raise UserError(
            f"backbone.name={name} takes images of {crops} pixels (crops.size) only, and "
            f"validation images have {whole[1]}x{whole[0]}: set data.image_size={crops}, or "
            "crops.size to the size of the images."
        )


def fit_to_images(encoder: Encoder, height: int, width: int) -> None:
    """Make an encoder take images of another size than it was trained on, if that is possible.

    Convolutional networks take any size. Of a transformer of timm, the positional embeddings are
    interpolated, and a line says so.

    Args:
        encoder: the encoder, which is changed in place.
        height: height of the images in pixels.
        width: their width.

    Raises:
        UserError: it does not take such images; the message names the size to bring them to.
    """
    if takes(encoder.backbone, height, width):
        return
    backbone: Any = encoder.backbone
    name = encoder.config["backbone"]["name"]
    if hasattr(backbone, "set_input_size"):
        frozen = {key: value.requires_grad for key, value in backbone.named_parameters()}
        with suppress(AssertionError, RuntimeError, ValueError, TypeError):
            backbone.set_input_size(img_size=(height, width))
        for key, value in backbone.named_parameters():
            value.requires_grad_(frozen.get(key, False))
        if takes(backbone, height, width):
            encoder.taken_size = (height, width)
            say(
                f"{name} was trained on images of {encoder.image_size} pixels; its positional "
                f"embeddings are interpolated for {width}x{height}."
            )
            return
    raise UserError(
        f"{name} takes images of {encoder.image_size} pixels, and these have {width}x{height}: set "
        f"data.image_size={encoder.image_size}."
    )
