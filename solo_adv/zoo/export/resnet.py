"""Embeds a ResNet in a wider or deeper one that computes the same function.

Other libraries fix the width, the depth and the stem of their ResNets. Their additional channels
get weight zero and stay zero, and their additional residual blocks add zero. Both are exact.
"""

import re
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from solo_adv.support.errors import UserError

KWARGS = ("width", "layers", "zero_init_residual")
"""Settings of a ResNet backbone that the exports can express."""


def embed(state: Mapping[str, Tensor], template: nn.Module, target: str) -> dict[str, Tensor]:
    """Weights for ``template`` that give the features of ``state``, followed by zeros.

    The first convolutions must have the same kernel size.

    Args:
        state: State dict of a ResNet without classifier, named as in timm and torchvision.
        template: A ResNet without classifier, at least as wide and as deep in each stage.
        target: The software that the template is from, for the message.

    Raises:
        UserError: The template is too narrow or too shallow, or has other layers.
    """
    shapes = template.state_dict()
    foreign = sorted(set(state) - set(shapes))
    if foreign:
        raise UserError(f"{target} cannot express this network: it has no layer '{foreign[0]}'.")
    embedded = {}
    for name, like in shapes.items():
        if name in state:
            embedded[name] = _in_corner(state[name], like, name, target)
        elif ".downsample." in name:
            embedded[name] = _identity(name, like, template)
        else:  # this residual block is not in the original
            embedded[name] = _nothing(name, like)
    return embedded


def _in_corner(ours: Tensor, like: Tensor, name: str, target: str) -> Tensor:
    kernel = slice(2, None)
    if ours.shape[kernel] != like.shape[kernel] or any(
        mine > theirs for mine, theirs in zip(ours.shape, like.shape, strict=True)
    ):
        raise UserError(
            f"{target} cannot express this network: its {name} has the shape "
            f"{tuple(like.shape)}, ours {tuple(ours.shape)}."
        )
    whole = _nothing(name, like)
    whole[tuple(slice(size) for size in ours.shape)] = ours
    return whole


def _nothing(name: str, like: Tensor) -> Tensor:
    """The parameter or buffer ``name`` of a convolution or batch norm that returns zero."""
    return torch.ones_like(like) if name.endswith("running_var") else torch.zeros_like(like)


def _identity(name: str, like: Tensor, template: nn.Module) -> Tensor:
    """The parameter or buffer ``name`` of a 1x1 convolution or its batch norm that change nothing.

    The template has such a shortcut, which ours lacks, if its stem is wider than its first stage.
    """
    if like.dim() == 4:
        return torch.eye(*like.shape[:2])[:, :, None, None]
    return identity_norm(name, like, template.get_submodule(re.sub(r"\.\w+$", "", name)))


def identity_norm(name: str, like: Tensor, norm: nn.Module) -> Tensor:
    """The parameter or buffer ``name`` of a batch norm that changes nothing."""
    assert isinstance(norm, nn.BatchNorm2d)
    if name.endswith("running_var"):
        return torch.full_like(like, 1 - norm.eps)  # batch norm divides by sqrt(var + eps)
    return torch.ones_like(like) if name.endswith("weight") else torch.zeros_like(like)
