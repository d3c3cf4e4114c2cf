"""Completes the configs of checkpoints that solo-learn's own methods wrote.

The ``args.json`` beside a checkpoint describes its encoder; the user may add to it or correct it.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from solo_adv.encoders import solo_config
from solo_adv.encoders.published import BRANCHES
from solo_adv.encoders.specification import STEMS
from solo_adv.support.checks import choice, is_number, known_keys, whole
from solo_adv.support.errors import UserError


@dataclass(frozen=True, kw_only=True)
class EncoderSettings:
    """Settings of a solo-learn checkpoint that override its ``args.json``. None overrides nothing.

    Attributes:
        backbone: name of the backbone, as ``backbones.build_backbone`` takes it.
        stem: the stem of a ResNet: ``cifar`` (padding 1), ``cifar_padding2`` (solo-learn's) or
            ``imagenet``.
        image_size: side in pixels of the images that the encoder takes.
        mean: mean of each of the three channels by which images are normalised.
        std: standard deviation of each of the three channels by which images are normalised.
        batch_norm: which batch norm of a published checkpoint with two is used: ``attacked`` (the
            default) or ``clean``.

    Raises:
        UserError: a value is not accepted.
    """

    backbone: str | None = None
    stem: str | None = None
    image_size: int | None = None
    mean: list[float] | None = None
    std: list[float] | None = None
    batch_norm: str | None = None

    def __post_init__(self) -> None:
        if self.stem is not None:
            choice("encoder.stem", self.stem, STEMS[1:])
        if self.batch_norm is not None:
            choice("encoder.batch_norm", self.batch_norm, BRANCHES)
        if self.image_size is not None:
            whole("encoder.image_size", self.image_size, 1)
        for name in ("mean", "std"):
            value = getattr(self, name)
            three = isinstance(value, list | tuple) and len(value) == 3
            if value is not None and not (three and all(map(is_number, value))):
                raise UserError(f"encoder.{name} must be three numbers; got {value}.")

    @classmethod
    def from_config(cls, mapping: Mapping[str, Any]) -> "EncoderSettings":
        """Read the settings from a configuration group.

        Raises:
            UserError: a key is unknown, or a value is not accepted.
        """
        known_keys("encoder", mapping, cls)
        return cls(**mapping)

    @property
    def named(self) -> dict[str, Any]:
        """The settings that are not None."""
        return {key: value for key, value in asdict(self).items() if value is not None}


def solo_learn_config(
    file: Path, state: Mapping[str, Tensor], named: Mapping[str, Any]
) -> dict[str, Any]:
    """The complete config of a checkpoint that one of solo-learn's own methods wrote.

    Args:
        file: the checkpoint; its ``args.json`` is looked for beside it.
        state: weights of its backbone.
        named: settings of :class:`EncoderSettings` that the user gave.

    Raises:
        UserError: the file has no backbone, there is no usable ``args.json`` and the user did not
            give what it would say, or the weights contradict the stem.
    """
    if not state:
        raise UserError(f"{file} holds no weights of a backbone ('backbone.*').")
    args = _args_beside(file)
    if args is None:
        args = _args_named(file, named)
    backbone, data = {**args["backbone"]}, {**args["data"]}
    backbone |= {"name": named.get("backbone", backbone["name"])}
    backbone |= {"stem": named.get("stem", backbone.get("stem"))}
    data |= {key: named[key] for key in ("image_size", "mean", "std") if key in named}
    config = solo_config.complete({**args, "backbone": backbone, "data": data})
    if "image_size" in named:
        config["crops"]["size"] = named["image_size"]
    _check_stem(file, state, config)
    return config


def _args_beside(file: Path) -> dict[str, Any] | None:
    args = file.with_name("args.json")
    if not args.exists():
        return None
    try:
        config = json.loads(args.read_text())
        config["backbone"]["name"], config["data"]["dataset"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{args} is not the config of a solo-learn run (1.0.6 or newer): {error!r}."
        ) from error
    return solo_config.resolved(config)


def _args_named(file: Path, named: Mapping[str, Any]) -> dict[str, Any]:
    """A config from the settings that the user gave, if there is no ``args.json``."""
    needed = ["backbone", "image_size", "mean", "std"]
    if str(named.get("backbone", "resnet")).startswith("resnet"):
        needed.append("stem")
    missing = [f"encoder.{key}" for key in needed if key not in named]
    if missing:
        raise UserError(
            f"There is no args.json beside {file} to say how its encoder is built. Name it: "
            f"{', '.join(missing)} (for instance encoder.backbone=resnet18 "
            "encoder.stem=cifar_padding2 encoder.image_size=32; for images that were not "
            "normalised encoder.mean=[0,0,0] encoder.std=[1,1,1])."
        )
    backbone = {"name": named["backbone"], "kwargs": {}}
    return {"method": "unknown", "backbone": backbone, "data": {}, "method_kwargs": {}}


def _check_stem(file: Path, state: Mapping[str, Tensor], config: Mapping[str, Any]) -> None:
    """Refuse a stem that contradicts the weights.

    The weights show the stem's kernel size but not its padding, so a wrong padding goes unnoticed.

    Raises:
        UserError: the kernel sizes differ.
    """
    convolution = state.get("backbone.conv1.weight")
    if convolution is None or not config["backbone"]["name"].startswith("resnet"):
        return  # weights of another network are refused later if they do not fit
    stem, kernel = config["backbone"]["stem"], convolution.shape[-1]
    if kernel != (7 if stem == "imagenet" else 3):
        raise UserError(
            f"The stem of {file} is unknown: its first convolution is {kernel}x{kernel}, which is "
            f"not the {stem} stem that its config stands for "
            f"(data.dataset={config['data'].get('dataset')}). "
            f"Name it with encoder.stem=STEM. Accepted: {', '.join(STEMS[1:])}."
        )
