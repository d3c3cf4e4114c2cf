"""What is recognised of another repository's checkpoint, and what must be asked of the user."""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from solo_adv.support.errors import UserError

HEADS = re.compile(
    r"(fc|linear|classifier|head|proj|pred|predictor|queue|temperature|logit)(\d|_|\.|$)"
    r"|(projector|projection|prediction|prototypes|centers)"
)
"""First parts of the names of weights that belong to heads, which are left out."""


class Published(NamedTuple):
    """An encoder that was recognised."""

    config: dict[str, Any]
    """Its config, from which ``Encoder`` builds the same network."""
    state: dict[str, Tensor]
    """Its weights under the names of that network."""

    @property
    def told(self) -> str:
        """What was recognised, chosen and left out, for the user."""
        told: str = self.config["recognised"]
        return told


def chosen_network(
    file: Path, prefixes: Sequence[str], state: Mapping[str, Tensor], wanted: str | None
) -> str:
    """The prefix of the network that is read, of those that the checkpoint has.

    Raises:
        UserError: the wanted one is not there, or it is unknown which one is meant.
    """
    names = {prefix.removesuffix("."): prefix for prefix in prefixes}
    if wanted is not None:
        if wanted not in names:
            raise UserError(
                f"encoder.network={wanted}: {file} has no such network. It has {_listed(names)}."
            )
        return names[wanted]
    if len(names) > 1 and "encoder_k" in {name.rpartition(".")[2] for name in names}:
        # DynACL evaluates the momentum encoder. MoCo, which has one batch norm, the other.
        dynacl = any(".bn_list." in name for name in state)
        names = {n: p for n, p in names.items() if n.endswith("encoder_k") == dynacl}
    if len(names) > 1:  # solo-learn, DeACL (where it is the teacher) and lightly evaluate the other
        names = {n: p for n, p in names.items() if "momentum" not in n}
    if len(names) == 1:
        return next(iter(names.values()))
    every = _listed(prefix.removesuffix(".") for prefix in prefixes)
    raise UserError(
        f"{file} holds several networks ({every}), and only you know which is meant. Name it: "
        "encoder.network=NAME."
    )


def _listed(names: Iterable[str]) -> str:
    return ", ".join(name or "one without a prefix" for name in names)


def require_described(file: Path, mean: object, std: object, kernel: int | None = None) -> None:
    """Refuse a checkpoint of which the user must say more.

    Args:
        file: the checkpoint.
        mean: mean of the channels; None if it must be named.
        std: standard deviation of the channels; None if it must be named.
        kernel: the size of the first convolution if the stem must be named.

    Raises:
        UserError: something must be named.
    """
    told = []
    if kernel is not None:
        told.append(
            f"its first convolution is {kernel}x{kernel}, and the weights do not show its padding: "
            "encoder.stem=cifar (padding 1) or cifar_padding2 (solo-learn and DeACL)"
        )
    if mean is None or std is None:
        told.append(
            "it does not say how images are normalised: encoder.mean=[...] encoder.std=[...] (if "
            "they were not: encoder.mean=[0,0,0] encoder.std=[1,1,1]; for a checkpoint of "
            "solo-learn, the args.json of its run beside it says so)"
        )
    if told:
        raise UserError(f"{file} must be described further: {'; '.join(told)}.")


def described(
    weights: Mapping[str, Tensor],
    *,
    backbone: Mapping[str, Any],
    statistics: tuple[Any, Any],
    image_size: int,
    kind: str,
    parts: Sequence[str],
    network: str,
    without: Iterable[str],
) -> Published:
    """Put together what was recognised.

    Args:
        weights: the network's weights, under the names of the network that is built.
        backbone: the section ``backbone`` of its config.
        statistics: mean and standard deviation of the channels by which images are normalised.
        image_size: side in pixels of the images.
        kind: what the network is.
        parts: what else the user should know.
        network: what the names of its weights began with in the checkpoint.
        without: first parts of the names of weights that were left out.
    """
    parts = [*parts, f"images of {image_size} pixels"]
    if network:
        parts.append(f"the network '{network.removesuffix('.')}' (encoder.network)")
    if without:
        parts.append(f"without {', '.join(sorted(without))}")
    mean, std = statistics
    config = {
        "method": "published",
        "recognised": f"{kind}: {'; '.join(parts)}",
        "backbone": dict(backbone),
        "data": {"mean": list(mean), "std": list(std), "image_size": image_size},
        "crops": {"size": image_size},
        "method_kwargs": {},
    }
    return Published(config, {f"backbone.{name}": value for name, value in weights.items()})
