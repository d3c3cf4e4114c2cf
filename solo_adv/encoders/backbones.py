"""Builds backbones by name from timm, with the usual CIFAR stems and an optional width."""

import inspect
import re
import warnings
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

from solo_adv.encoders.specification import (
    IDENTITY,
    SOLO_LEARNS_OWN,
    is_timm_model,
    resolve_name,
    resolve_stem,
)
from solo_adv.support.checks import flags
from solo_adv.support.errors import UserError, unknown
from solo_adv.support.settings import declared_types


class Normalization(nn.Module):
    """Normalises pixels (N, 3, H, W) in [0, 1] for the backbone.

    Args:
        mean: mean of each of the three channels; None is 0.
        std: standard deviation of each of the three channels; None is 1.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float] | None, std: Sequence[float] | None) -> None:
        super().__init__()
        mean, std = list(mean or IDENTITY[0]), list(std or IDENTITY[1])
        self.statistics = (mean, std)
        self.is_identity = self.statistics == IDENTITY
        for name, values in (("mean", mean), ("std", std)):
            self.register_buffer(name, torch.tensor(values).view(3, 1, 1), persistent=False)

    def forward(self, pixels: Tensor) -> Tensor:
        """Normalise pixels (N, 3, H, W), differentiably."""
        return pixels if self.is_identity else (pixels - self.mean) / self.std

    def undo(self, normalized: Tensor) -> Tensor:
        """Turn normalised images back into pixels, clamped to [0, 1] against rounding errors."""
        return normalized if self.is_identity else (normalized * self.std + self.mean).clamp(0, 1)


def build_backbone(
    name: str, *, image_size: int, stem: str = "auto", **kwargs: Any
) -> tuple[nn.Module, int]:
    """Build a backbone without classifier, from images (N, 3, H, W) to features (N, D).

    Args:
        name: any timm model, for instance ``resnet18``, ``resnet50`` or ``vit_tiny_patch16_224``;
            solo-learn's name of such a model (``vit_tiny``); or a network of solo-learn's own
            (``wide_resnet28w2``), for which solo-learn must be importable.
        image_size: side of the square images, in pixels.
        stem: the first layers of a ``resnet*``: ``cifar`` (3x3, stride 1, padding 1, no
            max-pooling, as in the paper's code), ``cifar_padding2`` (the same with padding 2, as in
            solo-learn), ``cifar_linear`` (as ``cifar``, without a ReLU after the convolution's
            batch norm, as in lightly's examples), ``imagenet`` (7x7, stride 2, max-pooling), or
            ``auto``, which takes ``cifar`` for images of up to 64 pixels and ``imagenet`` for
            larger ones. A variant such as ``resnet50d`` keeps its own stem for ``imagenet``.
        kwargs: passed to timm. A ``resnet*`` also takes ``width``, the number of channels of the
            first stage (64 by default; each further stage has twice as many as the one before), and
            ``layers``, the number of blocks of each stage. Other models ignore these two, which
            presets for small images set; a warning says so. ``pretrained=True`` takes timm's
            weights, for a ``resnet*`` with the stem ``imagenet`` and without ``width``.

    Returns:
        The module and D, which is measured by a pass of one black image.

    Raises:
        UserError: there is no such model, it does not accept the arguments, its weights cannot be
            had, or it gives something else than a vector for each image.
    """
    stem = resolve_stem(stem, image_size)
    name = resolve_name(name)
    try:
        if _has_a_stem_to_choose(name):
            backbone = _resnet(name, stem, **kwargs)
        else:
            backbone = _other_network(name, image_size, **kwargs)
        _subsample_first(backbone)
        flags("backbone.kwargs", kwargs, {**_OURS, **declared_types(type(backbone))})
        features_dim = _measured_width(backbone, name, image_size)
    except (TypeError, AssertionError, RuntimeError, ValueError) as error:
        if isinstance(error, UserError):
            raise
        _check_options(name, error)
        raise UserError(
            f"backbone.name={name} cannot be built with {kwargs or 'these settings'} "
            f"for {image_size}-pixel images: {error}"
        ) from error
    return backbone, features_dim


def architecture(kwargs: Mapping[str, Any] | None) -> dict[str, Any]:
    """The ``backbone.kwargs`` without ``pretrained``, for a network whose weights are known."""
    return {key: value for key, value in (kwargs or {}).items() if key != "pretrained"}


def create(name: str, **kwargs: Any) -> nn.Module:
    """Call ``timm.create_model``.

    Raises:
        UserError: pretrained weights were asked for and timm cannot get them.
    """
    import timm  # noqa: PLC0415  takes seconds

    try:
        network: nn.Module = timm.create_model(name, **kwargs)
    except Exception as error:  # the libraries of a download raise many types
        if not kwargs.get("pretrained") or isinstance(error, TypeError | AssertionError):
            raise
        reason = " ".join(str(error).split())[:200].rstrip(".")
        raise UserError(
            f"timm cannot get the weights of {name}: {reason}. As a teacher, timm:{name}@FILE "
            "takes weights that are on this machine."
        ) from error
    return network


def _measured_width(backbone: nn.Module, name: str, image_size: int) -> int:
    """The dimension of the features, by a pass of one black image without gradient.

    Raises:
        UserError: the network gives something else than a vector for each image.
    """
    weight = next(backbone.parameters())
    image = weight.new_zeros(1, 3, image_size, image_size)
    training = backbone.training
    with torch.no_grad():
        features = backbone.eval()(image)
    backbone.train(training)
    if not isinstance(features, Tensor) or features.dim() != 2:
        shape = tuple(features.shape) if isinstance(features, Tensor) else type(features).__name__
        raise UserError(
            f"backbone.name={name} gives {shape} for one image, and a backbone must give one "
            "vector (1, D): choose another network."
        )
    return int(features.shape[1])


_OURS = {"zero_init_residual": bool, "pretrained": bool}
"""Options that this module takes and timm has under another name, with their types."""


def _check_options(name: str, error: Exception) -> None:
    """If the network refused an option, raise an error that lists the options it has.

    Raises:
        UserError: ``error`` says that an option is unknown.
    """
    found = re.search(r"unexpected keyword argument '(\w+)'", str(error))
    if found and is_timm_model(name):
        takes = inspect.signature(type(create(name)))
        ours = {"width", "zero_init_residual"} if _has_a_stem_to_choose(name) else set()
        options = {*takes.parameters, *ours, "pretrained"} - {"block"}
        raise unknown(f"key in backbone.kwargs of {name}", found[1], options) from error


_USUAL_WIDTH = 64
"""Channels of the first stage of timm's ResNets."""


def set_stem(resnet: nn.Module, stem: str, width: int = _USUAL_WIDTH) -> None:
    """Replace a ResNet's first convolution and pooling by the ``stem`` of `build_backbone`."""
    if stem == "imagenet":
        conv = nn.Conv2d(3, width, kernel_size=7, stride=2, padding=3, bias=False)
        nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
        resnet.conv1, resnet.maxpool = conv, nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
    else:
        padding = 2 if stem == "cifar_padding2" else 1
        resnet.conv1 = nn.Conv2d(3, width, kernel_size=3, stride=1, padding=padding, bias=False)
        resnet.maxpool = nn.Identity()
    if stem == "cifar_linear":
        setattr(resnet, "act1" if hasattr(resnet, "act1") else "relu", nn.Identity())


def _has_a_stem_to_choose(name: str) -> bool:
    """Whether timm builds the network as a ``ResNet``, which takes a width and another stem."""
    if not name.startswith("resnet"):
        return False
    from timm.models import is_model_in_modules  # noqa: PLC0415  takes seconds

    return is_model_in_modules(name.partition(".")[0], {"resnet"})


def _resnet(
    name: str,
    stem: str,
    width: int = _USUAL_WIDTH,
    zero_init_residual: bool = False,
    pretrained: bool = False,
    **kwargs: Any,
) -> nn.Module:
    # timm and torchvision have different names for this option; both are accepted.
    kwargs = {"num_classes": 0, "zero_init_last": zero_init_residual, **kwargs}
    if stem == "imagenet" and width == _USUAL_WIDTH:
        return create(name, pretrained=pretrained, **kwargs)
    if pretrained:
        raise UserError(
            f"backbone.kwargs.pretrained=true: timm's weights of {name} are for backbone.stem="
            f"imagenet and width={_USUAL_WIDTH}; this run has {stem} and {width}. Set both, or "
            "start from another encoder: teacher.checkpoint=PATH teacher.start_student=true."
        )
    # With a stem of a single convolution, timm fixes the width at 64. With its deep stem the width
    # is free, so a ResNet with a deep stem is built and its stem is replaced.
    backbone = create(
        name,
        channels=tuple(width * 2**stage for stage in range(4)),
        stem_type="deep",
        stem_width=width // 2,
        **kwargs,
    )
    set_stem(backbone, stem, width)
    return backbone


_SAFE_CHANNELS = 8


class _Subsampled(nn.Conv2d):
    """A strided 1x1 convolution that drops the pixels it skips before it convolves the others."""

    def forward(self, input: Tensor) -> Tensor:
        rows, columns = self.stride
        return nn.functional.conv2d(input[..., ::rows, ::columns], self.weight, self.bias)


def _subsample_first(network: nn.Module) -> None:
    """Keep strided 1x1 convolutions of few channels from the kernel that breaks memory.

    oneDNN 3.13 of torch 2.15 writes beyond its buffer in such a convolution's backward pass, with
    fewer than 8 input channels in channels_last on CPUs without AVX-512. The results are the same.
    """
    for module in list(network.modules()):
        for name, child in module.named_children():
            if (
                type(child) is nn.Conv2d
                and child.kernel_size == (1, 1)
                and child.stride != (1, 1)
                and child.padding == (0, 0)
                and child.groups == 1
                and child.in_channels < _SAFE_CHANNELS
            ):
                rows, columns = child.stride
                convolution = _Subsampled(child.in_channels, child.out_channels, 1, (rows, columns))
                convolution.weight, convolution.bias = child.weight, child.bias
                setattr(module, name, convolution)


def _other_network(
    name: str, image_size: int, width: object = None, layers: object = None, **kwargs: Any
) -> nn.Module:
    ignored = [key for key, value in (("width", width), ("layers", layers)) if value is not None]
    if ignored:
        warnings.warn(
            f"backbone.name={name} ignores backbone.kwargs.{' and '.join(ignored)}, which only "
            "ResNets have.",
            stacklevel=3,
        )
    if name in SOLO_LEARNS_OWN:
        return _solo_learns_own(name, **kwargs)
    try:
        return create(name, num_classes=0, **{"img_size": image_size, **kwargs})
    except TypeError:  # convolutional models take no image size
        return create(name, num_classes=0, **kwargs)


def _solo_learns_own(name: str, **kwargs: Any) -> nn.Module:
    try:
        backbones = import_module("solo.backbones")
    except ImportError as error:
        raise UserError(
            f"backbone.name={name} is solo-learn's own network, and solo-learn cannot be imported "
            f"({error}): put its checkout on PYTHONPATH."
        ) from error
    backbone: nn.Module = getattr(backbones, name)("", **kwargs)
    return backbone
