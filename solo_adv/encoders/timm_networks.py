"""Recognises networks of timm by the names of their weights, vision transformers also by shape."""

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from solo_adv.encoders.backbones import build_backbone
from solo_adv.encoders.recognised import (
    HEADS,
    Published,
    chosen_network,
    described,
    require_described,
)
from solo_adv.encoders.specification import is_timm_model
from solo_adv.support.errors import UserError

_VITS = {(192, 12): "tiny", (384, 12): "small", (768, 12): "base", (1024, 24): "large"}
"""The sizes of timm's vision transformers by width and number of blocks."""
_PATCHES = "patch_embed.proj.weight"


def is_transformer(state: Mapping[str, Tensor]) -> bool:
    """Whether there is a vision transformer with timm's names among the weights."""
    return bool(_ending(state, _PATCHES))


def timm_network(
    file: Path, state: Mapping[str, Tensor], named: Mapping[str, Any], name: str | None
) -> Published:
    """Recognise a network that timm builds.

    Args:
        file: the checkpoint, for messages.
        state: its weights.
        named: settings of ``EncoderSettings`` that the user gave.
        name: timm's name of the network; None for a vision transformer, whose name its shapes show.

    Raises:
        UserError: it has no usual name, or a setting must be named.
    """
    size = named.get("image_size") or 224
    kwargs: dict[str, Any] = {}
    if name is None:
        prefixes = _ending(state, _PATCHES)
        prefix = chosen_network(file, prefixes, state, named.get("network"))
        name, kwargs, side = _transformer(file, state, prefix)
        size = named.get("image_size") or side
    network, _ = build_backbone(name, image_size=size, **kwargs)
    expected = network.state_dict()
    prefix = chosen_network(
        file, _ending(state, next(iter(expected))) or [""], state, named.get("network")
    )
    inner = {n.removeprefix(prefix): v for n, v in state.items() if n.startswith(prefix)}
    weights = {n: v for n, v in inner.items() if n in expected or not HEADS.match(n)}
    beside = {n.partition(".")[0] for n in state if not n.startswith(prefix)}
    left_out = {n.partition(".")[0] for n in inner if n not in weights}
    mean, std = named.get("mean"), named.get("std")
    require_described(file, mean, std)
    return described(
        weights,
        backbone={"name": name, "kwargs": kwargs, "stem": "imagenet"},
        statistics=(mean, std),
        image_size=size,
        kind=f"{name} of timm",
        parts=[f"mean {mean} and std {std} (encoder.mean)"],
        network=prefix,
        without=left_out | beside,
    )


def _ending(state: Mapping[str, Tensor], name: str) -> list[str]:
    """What comes before ``name`` where it occurs in the names of weights."""
    found = [n.removesuffix(name) for n in state if n.endswith(name)]
    return [prefix for prefix in found if prefix[-1:] in ("", ".")]


def _transformer(
    file: Path, state: Mapping[str, Tensor], prefix: str
) -> tuple[str, dict[str, Any], int]:
    """The name of a vision transformer, its arguments for timm, and its image size.

    Raises:
        UserError: it has no usual name.
    """
    width, _, _, patch = state[f"{prefix}patch_embed.proj.weight"].shape
    blocks = {
        n for name in state for n in re.findall(rf"^{re.escape(prefix)}blocks\.(\d+)\.", name)
    }
    places = state.get(f"{prefix}pos_embed")
    known = _VITS.get((width, len(blocks)))
    if known is None or places is None:
        raise UserError(
            f"{file} is a transformer of {len(blocks)} blocks of width {width} with patches of "
            f"{patch} pixels, which has no usual name. Name it: encoder.backbone=NAME "
            "encoder.image_size=PIXELS."
        )
    tokens = places.shape[1] - (f"{prefix}cls_token" in state)
    name, kwargs = f"vit_{known}_patch{patch}_224", {}
    if not is_timm_model(name):
        name, kwargs = f"vit_{known}_patch16_224", {"patch_size": patch}
    return name, kwargs, patch * math.isqrt(tokens)
