"""Recognises ResNets of other repositories by the names and shapes of their weights."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from solo_adv.encoders.families import Family, Signs, Statistics, family_of
from solo_adv.encoders.recognised import HEADS, Published, described, require_described
from solo_adv.support.errors import UserError

_STAGES = ("layer1", "layer2", "layer3", "layer4")
_LAYER_NAMES = ("conv1.", "bn1.", *(f"{stage}." for stage in _STAGES))
_LAYERS: dict[tuple[str, tuple[int, ...]], str] = {
    ("basic", (2, 2, 2, 2)): "resnet18",
    ("basic", (3, 4, 6, 3)): "resnet34",
    ("bottleneck", (3, 4, 6, 3)): "resnet50",
    ("bottleneck", (3, 4, 23, 3)): "resnet101",
    ("bottleneck", (3, 8, 36, 3)): "resnet152",
}
STEM_WORDS = {
    "cifar": "3x3, padding 1",
    "cifar_padding2": "3x3, padding 2",
    "cifar_linear": "3x3, padding 1, no ReLU",
    "imagenet": "7x7",
}
"""What the weights' shapes and the padding of each stem are."""
BRANCHES = ("clean", "attacked", "attacked_ce")
"""What the batch norms of a list are for. The third is AdvCL's, for pseudo-labels."""


def resnet_at(name: str, state: Mapping[str, Tensor]) -> str | None:
    """The prefix of the ResNet whose stem is ``name``; None if it is no ResNet's stem."""
    if name.endswith("conv1.weight"):
        prefix = name.removesuffix("conv1.weight")
        if f"{prefix}layer1.0.conv1.weight" in state:
            return prefix
    prefix = name.removesuffix("0.weight")
    listed = name.endswith("0.weight") and prefix[-1:] in ("", ".")
    return prefix if listed and _first_stage(prefix, state) is not None else None


def _first_stage(prefix: str, state: Mapping[str, Tensor]) -> int | None:
    """Position of the first stage of a ResNet that is a list of its layers."""
    stages = (n for n in (2, 3, 4) if f"{prefix}{n}.0.conv1.weight" in state)
    return next(stages, None)


def resnet(
    file: Path, state: Mapping[str, Tensor], named: Mapping[str, Any], prefix: str
) -> Published:
    """Recognise the ResNet whose weights' names begin with ``prefix``.

    Args:
        file: the checkpoint, for messages.
        state: its weights.
        named: settings of ``EncoderSettings`` that the user gave.
        prefix: where the network is; see :func:`resnet_at`.

    Raises:
        UserError: it is not a ResNet that can be built, or a setting must be named.
    """
    inner = {n.removeprefix(prefix): v for n, v in state.items() if n.startswith(prefix)}
    first = _first_stage(prefix, state) if f"{prefix}conv1.weight" not in state else None
    inner = {_usual(name, first): value for name, value in inner.items()}
    held = _statistics_in(inner)
    weights, left_out = _parts(file, inner)
    beside = {n.partition(".")[0] for n in state if not n.startswith(prefix)}
    numbers = sorted({int(n) for name in weights for n in re.findall(r"\.bn_list\.(\d+)\.", name)})
    several = any(".bn_list." in name for name in weights)
    fc = inner.get("fc.weight")
    family = family_of(
        Signs(
            network=prefix.removesuffix("."),
            batch_norms=len(numbers) or int(several),
            heads=frozenset(left_out | beside),
            statistics=held,
            first_stage=first,
            shortcut=any(".shortcut." in name for name in inner),
            classes=len(fc) if fc is not None and fc.ndim == 2 else None,
        )
    )
    weights, branch = _one_branch(file, weights, numbers, named.get("batch_norm"))
    weights = {name.replace(".shortcut.", ".downsample."): v for name, v in weights.items()}
    name, kwargs = _architecture(file, weights)
    backbone = {"name": named.get("backbone") or name, "kwargs": kwargs}
    backbone["stem"] = stem = named.get("stem") or _stem(weights, family)
    size = named.get("image_size") or (family.large_images if stem == "imagenet" else 32)
    known = held or family.statistics or (None, None)
    mean, std = named.get("mean") or known[0], named.get("std") or known[1]
    kernel = weights["conv1.weight"].shape[-1] if stem is None else None
    require_described(file, mean, std, kernel)
    assert stem is not None
    source = "" if stem == "imagenet" else _source("stem", named, family)
    parts = [f"the {stem} stem ({STEM_WORDS[stem]}){source}"]
    if branch is not None:
        parts.append(f"the batch norm of {branch} views (encoder.batch_norm)")
    source = _source("mean", named, family, in_file=held is not None)
    return described(
        weights,
        backbone=backbone,
        statistics=(mean, std),
        image_size=size,
        kind=f"{backbone['name']} of {family.name}",
        parts=[*parts, f"mean {mean} and std {std}{source}"],
        network=prefix,
        without=left_out | beside,
    )


def _source(key: str, named: Mapping[str, Any], family: Family, *, in_file: bool = False) -> str:
    if key in named:
        return f" (encoder.{key})"
    return f", which {'the file says' if in_file else f'{family.name} uses'} (encoder.{key})"


def _usual(name: str, first_stage: int | None) -> str:
    """The name that torchvision and timm give to a weight of a ResNet."""
    number, _, rest = name.partition(".")
    if first_stage is not None and number.isdigit():
        place = {0: "conv1", 1: "bn1"}.get(int(number), f"layer{int(number) - first_stage + 1}")
        name = f"{place}.{rest}"
    return name.replace("downsample.conv.", "downsample.0.").replace(
        "downsample.bn.", "downsample.1."
    )


def _statistics_in(inner: dict[str, Tensor]) -> Statistics | None:
    """Take mean and standard deviation of the three channels out of the weights, if they have them.

    The layer that applies them is called ``normalize`` in ACL and its successors and in DeACL.
    """
    mean, std = (inner.pop(f"normalize.{key}", None) for key in ("mean", "std"))
    if mean is None or std is None or mean.numel() != 3 or std.numel() != 3:
        return None
    rounded = [[round(float(value), 6) for value in held.flatten()] for held in (mean, std)]
    return rounded[0], rounded[1]


def _parts(file: Path, inner: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], set[str]]:
    """The weights of the network, and the first parts of the names of its heads.

    Raises:
        UserError: there are weights that belong to neither.
    """
    weights = {name: value for name, value in inner.items() if name.startswith(_LAYER_NAMES)}
    rest = [name for name in inner if name not in weights]
    strange = [name for name in rest if not HEADS.match(name)]
    if strange:
        raise UserError(
            f"{file} has weights that belong neither to a network that is known nor to a head: "
            f"{', '.join(strange[:3])}. A network of timm is read if you name it: "
            "encoder.backbone=NAME."
        )
    return weights, {name.partition(".")[0] for name in rest}


def _one_branch(
    file: Path, weights: Mapping[str, Tensor], numbers: Sequence[int], wanted: str | int | None
) -> tuple[dict[str, Tensor], str | None]:
    """The weights with one batch norm in each place, and which; None if there is only one.

    Raises:
        UserError: the wanted one is not there, or it is unknown what they are for.
    """
    if len(numbers) < 2:
        if wanted is not None:
            raise UserError(
                f"encoder.batch_norm={wanted}: {file} has one batch norm in each place. Leave the "
                "key out."
            )
        return {re.sub(r"\.bn_list(\.\d+)?\.", ".", n): v for n, v in weights.items()}, None
    if wanted is None and len(numbers) > len(BRANCHES):
        raise UserError(
            f"{file} has {len(numbers)} batch norms in each place, and only you know what they are "
            f"for. Name one by its number: encoder.batch_norm={numbers[0]} to {numbers[-1]}."
        )
    branch = "attacked" if wanted is None else wanted
    kept = BRANCHES.index(branch) if isinstance(branch, str) else branch
    if kept not in numbers:
        known = [*BRANCHES[: len(numbers)], *map(str, numbers)]
        raise UserError(
            f"encoder.batch_norm={branch}: {file} has {len(numbers)} batch norms in each place. "
            f"Accepted: {', '.join(known)}."
        )
    found = {
        name.replace(f".bn_list.{kept}.", "."): value
        for name, value in weights.items()
        if ".bn_list." not in name or f".bn_list.{kept}." in name
    }
    return found, BRANCHES[kept] if kept < len(BRANCHES) else f"number {kept}"


def _architecture(file: Path, weights: Mapping[str, Tensor]) -> tuple[str, dict[str, Any]]:
    """The ResNet's name, and what it has beside the usual network of that name."""
    blocks = {tuple(name.split(".")[:2]) for name in weights if name.startswith("layer")}
    counts = Counter(layer for layer, _ in blocks)
    depths = tuple(counts[stage] for stage in _STAGES)
    kind = "bottleneck" if "layer1.0.conv3.weight" in weights else "basic"
    width = len(weights["conv1.weight"])
    inside = weights["layer1.0.conv2.weight"].shape if "layer1.0.conv2.weight" in weights else ()
    if not all(depths) or inside[:2] != (width, width):
        raise UserError(
            f"{file} is a ResNet of {kind} blocks {depths} and width {width}, which has no usual "
            "name. Name it with encoder.backbone=NAME."
        )
    kwargs: dict[str, Any] = {} if width == 64 else {"width": width}
    found = _LAYERS.get((kind, depths))
    if found is None:
        kwargs["layers"] = list(depths)
        found = "resnet50" if kind == "bottleneck" else "resnet18"
    return found, kwargs


def _stem(weights: Mapping[str, Tensor], family: Family) -> str | None:
    """The stem that the weights or the repository have; None if neither says so."""
    kernel = weights["conv1.weight"].shape[-1]
    return {7: "imagenet", 3: family.stem}.get(kernel)
