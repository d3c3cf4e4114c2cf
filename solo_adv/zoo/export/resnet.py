"""A ResNet inside a wider or deeper one that computes the same function.

Other libraries fix the width, the depth and the stem of their ResNets. Channels beyond ours get
weight zero and stay zero; residual blocks beyond ours add zero. Both are exact.
"""

import re
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from solo_adv.support.errors import UserError

KWARGS = ("width", "layers", "zero_init_residual")
"""Settings of a ResNet backbone that the exports know how to express."""


def embed(state: Mapping[str, Tensor], template: nn.Module, target: str) -> dict[str, Tensor]:
    """Weights for ``template`` with which it has the features of ``state``, then zeros.

    The first convolution must be of the same kernel in both.

    Args:
        state: of a ResNet without classifier, named as timm and torchvision do.
        template: a ResNet without classifier, in each stage at least as wide and as deep.
        target: whose network it is, for the message.

    Raises:
        UserError: the template is too narrow or too shallow, or has other layers.
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
        else:  # of a residual block that the original does not have
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
    """Of a convolution or a batch norm that gives zero."""
    return torch.ones_like(like) if name.endswith("running_var") else torch.zeros_like(like)


def _identity(name: str, like: Tensor, template: nn.Module) -> Tensor:
    """Of a 1x1 convolution and its batch norm that change nothing.

    The template has them where its stem is wider than its first stage, and ours has not.
    """
    if like.dim() == 4:
        return torch.eye(*like.shape[:2])[:, :, None, None]
    return identity_norm(name, like, template.get_submodule(re.sub(r"\.\w+$", "", name)))


def identity_norm(name: str, like: Tensor, norm: nn.Module) -> Tensor:
    """The parameter or buffer ``name`` of a batch norm that changes nothing."""
    assert isinstance(norm, nn.BatchNorm2d)
    if name.endswith("running_var"):
        return torch.full_like(like, 1 - norm.eps)  # what is divided by is var + eps
    return torch.ones_like(like) if name.endswith("weight") else torch.zeros_like(like)
