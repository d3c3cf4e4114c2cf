"""Backbones by name, from timm, with the CIFAR stem of the field and an optional width."""

from typing import Any

import timm
from torch import nn

from solo_adv.checks import choice
from solo_adv.errors import UserError, unknown

STEMS = ("auto", "cifar", "imagenet")
_CIFAR_STEM_UP_TO = 64


def resolve_stem(stem: str, image_size: int) -> str:
    """``cifar`` or ``imagenet``; ``auto`` takes the CIFAR stem for images up to 64 pixels."""
    choice("backbone.stem", stem, STEMS)
    if stem == "auto":
        return "cifar" if image_size <= _CIFAR_STEM_UP_TO else "imagenet"
    return stem


def build_backbone(
    name: str, *, image_size: int, stem: str = "auto", **kwargs: Any
) -> tuple[nn.Module, int]:
    """A backbone without classifier, from images (N, 3, H, W) to features (N, D).

    Args:
        name: any timm model, for instance ``resnet18``, ``resnet50``, ``vit_tiny_patch16_224``.
        image_size: side of the square images, in pixels.
        stem: for ``resnet*``: ``cifar`` (3x3 stride 1 padding 1, no max-pooling, as the paper's
            code), ``imagenet`` (7x7 stride 2, max-pooling) or ``auto``.
        kwargs: passed to timm; for ``resnet*`` also ``width``, the channels of the first stage
            (64; each stage has twice those of the one before), and ``layers``, the blocks of each
            stage. Other models ignore these two, which presets for small images set.

    Returns:
        The module and D.

    Raises:
        UserError: timm has no such model, or it does not accept the arguments.
    """
    stem = resolve_stem(stem, image_size)
    if not timm.is_model(name):
        raise unknown("backbone.name", name, timm.list_models())
    try:
        if name.startswith("resnet"):
            backbone = _resnet(name, stem, **kwargs)
        else:
            backbone = _timm_model(name, image_size, **kwargs)
    except (TypeError, AssertionError, RuntimeError, ValueError) as error:
        raise UserError(
            f"backbone.name={name} cannot be built with {kwargs or 'these settings'} "
            f"for {image_size}-pixel images: {error}"
        ) from error
    return backbone, int(backbone.num_features)  # type: ignore[arg-type]


def _resnet(name: str, stem: str, width: int = 64, **kwargs: Any) -> nn.Module:
    # timm has one fixed width behind a single-convolution stem. Its deep stem has a free one, so
    # ask for that and put the single convolution in its place.
    backbone = timm.create_model(
        name,
        num_classes=0,
        channels=tuple(width * 2**stage for stage in range(4)),
        stem_type="deep",
        stem_width=width // 2,
        **{"zero_init_last": False, **kwargs},
    )
    if stem == "cifar":
        backbone.conv1 = nn.Conv2d(3, width, kernel_size=3, stride=1, padding=1, bias=False)
        backbone.maxpool = nn.Identity()
    else:
        backbone.conv1 = nn.Conv2d(3, width, kernel_size=7, stride=2, padding=3, bias=False)
        nn.init.kaiming_normal_(backbone.conv1.weight, mode="fan_out", nonlinearity="relu")
    return backbone


def _timm_model(
    name: str, image_size: int, width: object = None, layers: object = None, **kwargs: Any
) -> nn.Module:
    try:
        return timm.create_model(name, num_classes=0, img_size=image_size, **kwargs)
    except TypeError:  # convolutional models have no fixed image size
        return timm.create_model(name, num_classes=0, **kwargs)
