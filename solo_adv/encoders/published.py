"""Recognises networks of other repositories by the names and shapes of their weights."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from solo_adv.encoders.recognised import Published, chosen_network
from solo_adv.encoders.resnets import resnet, resnet_at
from solo_adv.encoders.timm_networks import is_transformer, timm_network
from solo_adv.support.errors import UserError

_WRAPPERS = ("module", "_orig_mod")
"""Parts of names that DataParallel and torch.compile add."""


def published(file: Path, state: Mapping[str, Tensor], named: Mapping[str, Any]) -> Published:
    """Recognise an encoder.

    Args:
        file: the checkpoint, for messages.
        state: its weights.
        named: settings of ``EncoderSettings`` that the user gave.

    Raises:
        UserError: the weights are not those of a network that is known, or a setting must be named.
    """
    state = {_without_wrappers(name): value for name, value in state.items()}
    wanted = named.get("backbone")
    if wanted is not None and not wanted.startswith("resnet"):
        return timm_network(file, state, named, wanted)
    prefixes = [p for name in state if (p := resnet_at(name, state)) is not None]
    if prefixes:
        return resnet(
            file, state, named, chosen_network(file, prefixes, state, named.get("network"))
        )
    if is_transformer(state):
        return timm_network(file, state, named, None)
    raise UserError(
        f"{file} holds no weights of a backbone that is known: neither 'backbone.*', nor a ResNet "
        "with torchvision's names, several batch norms (bn_list) or a list of layers, nor a vision "
        f"transformer with timm's names. Its first weights are {', '.join(list(state)[:3])}. A "
        "network of timm is read if you name it: encoder.backbone=NAME."
    )


def _without_wrappers(name: str) -> str:
    return ".".join(part for part in name.split(".") if part not in _WRAPPERS)
