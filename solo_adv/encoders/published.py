"""Recognises ResNets of other repositories by the names and shapes of their weights.

These are the checkpoints of ACL, DynACL and DynACL++, AIR, RobustSSL and others with several batch
norms (``bn_list``), and ResNets with torchvision's names, such as torchvision's own or lightly's.
"""

import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from solo_adv.support.checks import choice
from solo_adv.support.errors import UserError

_WRAPPERS = ("module.", "_orig_mod.", "model.", "net.")
_NETWORKS = ("encoder_k.", "momentum_encoder.", "momentum_backbone.", "encoder.", "backbone.")
"""Where a network may lie in a checkpoint. An average of the weights comes before the weights."""
_HEADS = ("fc.", "linear.", "classifier.", "projector.", "projection_head.", "prediction_head.")
_LAYERS: dict[tuple[str, tuple[int, ...]], str] = {
    ("basic", (2, 2, 2, 2)): "resnet18",
    ("basic", (3, 4, 6, 3)): "resnet34",
    ("bottleneck", (3, 4, 6, 3)): "resnet50",
    ("bottleneck", (3, 4, 23, 3)): "resnet101",
}
BRANCHES = ("attacked", "clean")


class Published(NamedTuple):
    """An encoder that was recognised."""

    config: dict[str, Any]
    """Its config, from which ``Encoder`` builds the same network."""
    state: dict[str, Tensor]
    """Its weights under the names of that network."""
    told: str
    """What was recognised, chosen and left out, in a sentence for the user."""


def published(file: Path, state: Mapping[str, Tensor], named: Mapping[str, Any]) -> Published:
    """Recognise an encoder.

    Args:
        file: the checkpoint, for messages.
        state: its weights.
        named: settings of ``EncoderSettings`` that the user gave.

    Raises:
        UserError: the weights are not those of a ResNet that is known, or a setting must be named.
    """
    prefix, inner = _network(state)
    weights = {name: value for name, value in inner.items() if not name.startswith(_HEADS)}
    if not _is_resnet(weights):
        some = ", ".join(list(state)[:3])
        raise UserError(
            f"{file} holds no weights of a backbone that is known: neither 'backbone.*', nor a "
            "ResNet with torchvision's names or two batch norms (bn_list). Its first weights are "
            f"{some or 'none'}."
        )
    heads = sorted({name.partition(".")[0] for name in inner if name.startswith(_HEADS)})
    statistics = [weights.pop(f"normalize.{key}", None) for key in ("mean", "std")]
    weights, branch = _one_branch(file, weights, named.get("batch_norm"))
    several = branch is not None
    weights = {_usual(name): value for name, value in weights.items()}
    name = named.get("backbone") or _architecture(file, weights)
    stem = named.get("stem") or _stem(file, weights, several)
    image_size = named.get("image_size") or (224 if stem == "imagenet" else 32)
    mean, std = (
        named.get(key) or (None if held is None else [round(float(v), 6) for v in held.flatten()])
        for key, held in zip(("mean", "std"), statistics, strict=True)
    )
    if mean is None or std is None:
        raise UserError(
            f"{file} does not say how images are normalised. Name it: encoder.mean=[...] "
            "encoder.std=[...]; for images that were not normalised encoder.mean=[0,0,0] "
            "encoder.std=[1,1,1]."
        )
    config = {
        "method": "published",
        "backbone": {"name": name, "stem": stem, "kwargs": {}},
        "data": {"mean": list(mean), "std": list(std), "image_size": image_size},
        "crops": {"size": image_size},
        "method_kwargs": {},
    }
    parts = [f"{name}, {stem} stem, images of {image_size} pixels, mean {mean}, std {std}"]
    if several:
        parts.append(f"the batch norm of {branch} views (encoder.batch_norm)")
    if prefix:
        parts.append(f"the network '{prefix}'")
    if heads:
        parts.append(f"without {', '.join(heads)}")
    told = f"Read {file.name} as {'; '.join(parts)}."
    return Published(config, {f"backbone.{k}": v for k, v in weights.items()}, told)


def _is_resnet(weights: Mapping[str, Tensor]) -> bool:
    return {"conv1.weight", "layer1.0.conv1.weight"} <= weights.keys()


def _usual(name: str) -> str:
    """The name that torchvision and timm give to a weight."""
    name = name.replace("downsample.conv.", "downsample.0.")
    return name.replace("downsample.bn.", "downsample.1.")


def _network(state: Mapping[str, Tensor]) -> tuple[str, dict[str, Tensor]]:
    """The name of the network in the checkpoint that holds the encoder, and its weights."""
    inner = dict(state)
    found = True
    while found:
        found = False
        for wrapper in _WRAPPERS:
            if inner and all(name.startswith(wrapper) for name in inner):
                inner = {name.removeprefix(wrapper): value for name, value in inner.items()}
                found = True
    for prefix in _NETWORKS:
        part = {k.removeprefix(prefix): v for k, v in inner.items() if k.startswith(prefix)}
        if _is_resnet(part):
            return prefix.removesuffix("."), part
    return "", inner


def _one_branch(
    file: Path, weights: Mapping[str, Tensor], wanted: str | None
) -> tuple[dict[str, Tensor], str | None]:
    """The weights with one batch norm in each place, and which; None if there is only one."""
    numbers = sorted({int(n) for name in weights for n in re.findall(r"\.bn_list\.(\d+)\.", name)})
    single = {name.replace(".bn_list.", "."): value for name, value in weights.items()}
    if not numbers:
        if wanted is not None:
            raise UserError(
                f"encoder.batch_norm={wanted}: {file} has one batch norm in each place. Leave the "
                "key out."
            )
        return single, None
    if len(numbers) != 2:
        raise UserError(
            f"{file} has {len(numbers)} batch norms in each place, and only checkpoints with one, "
            "or with two for clean and attacked views, are known."
        )
    branch = wanted or BRANCHES[0]
    choice("encoder.batch_norm", branch, BRANCHES)
    kept, other = (numbers[1], numbers[0]) if branch == "attacked" else numbers
    return {
        name.replace(f".bn_list.{kept}.", "."): value
        for name, value in weights.items()
        if f".bn_list.{other}." not in name
    }, branch


def _architecture(file: Path, weights: Mapping[str, Tensor]) -> str:
    blocks = {tuple(name.split(".")[:2]) for name in weights if name.startswith("layer")}
    counts = Counter(layer for layer, _ in blocks)
    depths = tuple(counts[f"layer{number}"] for number in (1, 2, 3, 4))
    kind = "bottleneck" if "layer1.0.conv3.weight" in weights else "basic"
    width = len(weights["conv1.weight"])
    found = _LAYERS.get((kind, depths))
    if found is None or width != 64:
        raise UserError(
            f"{file} is a ResNet of {kind} blocks {depths} and width {width}, which has no usual "
            "name. Name it with encoder.backbone=NAME."
        )
    return found


def _stem(file: Path, weights: Mapping[str, Tensor], several: bool) -> str:
    kernel = weights["conv1.weight"].shape[-1]
    if kernel == 7:
        return "imagenet"
    if kernel == 3 and several:  # all published networks with several batch norms pad by 1
        return "cifar"
    raise UserError(
        f"The first convolution of {file} is {kernel}x{kernel}, and its weights do not show its "
        "padding. Name it: encoder.stem=cifar (padding 1) or cifar_padding2 (solo-learn and DeACL)."
    )
