"""Settings for encoders of other repositories, and the configs of solo-learn's own methods.

The ``args.json`` beside a checkpoint describes its encoder; the user may add to it or correct it.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from solo_adv.encoders import solo_config
from solo_adv.encoders.resnets import BRANCHES, STEM_WORDS
from solo_adv.encoders.specification import STEMS
from solo_adv.support.checks import channel_statistics, choice, known_keys, whole
from solo_adv.support.errors import UserError


@dataclass(frozen=True, kw_only=True)
class EncoderSettings:
    """What a checkpoint of another repository does not say. None takes what is recognised.

    Attributes:
        backbone: name of the backbone, as ``backbones.build_backbone`` takes it.
        stem: the stem of a ResNet: ``cifar`` (padding 1), ``cifar_padding2`` (solo-learn's),
            ``cifar_linear`` (lightly's) or ``imagenet``; see ``build_backbone``.
        image_size: side in pixels of the images that the encoder takes.
        mean: mean of each of the three channels by which images are normalised.
        std: standard deviation of each of the three channels by which images are normalised.
        batch_norm: which batch norm of a checkpoint with several is used: ``attacked`` (the
            default), ``clean``, ``attacked_ce`` (AdvCL's third), or its number from 0.
        network: which network of a checkpoint with several is read, by what comes before its
            weights' names, such as ``encoder_k`` or ``momentum_backbone``.

    Raises:
        UserError: a value is not accepted.
    """

    backbone: str | None = None
    stem: str | None = None
    image_size: int | None = None
    mean: list[float] | None = None
    std: list[float] | None = None
    batch_norm: str | int | None = None
    network: str | None = None

    def __post_init__(self) -> None:
        if self.stem is not None:
            choice("encoder.stem", self.stem, STEMS[1:])
        if isinstance(self.batch_norm, int):
            whole("encoder.batch_norm", self.batch_norm, 0)
        elif self.batch_norm is not None:
            choice("encoder.batch_norm", self.batch_norm, BRANCHES)
        if self.image_size is not None:
            whole("encoder.image_size", self.image_size, 1)
        for name in ("mean", "std"):
            if getattr(self, name) is not None:
                channel_statistics(f"encoder.{name}", getattr(self, name))

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


def is_solo_learns(file: Path, state: Mapping[str, Tensor]) -> bool:
    """Whether solo-learn wrote a checkpoint with these weights and the ``args.json`` beside it.

    DeACL and checkpoints with several batch norms have such a file, too, but other networks.
    """
    if any(".bn_list." in name or ".normalize." in name for name in state):
        return False
    return file.with_name("args.json").exists() and any(map(_OF_BACKBONE.match, state))


_OF_BACKBONE = re.compile(r"(backbone|encoder)\.")  # before version 1.0.3 it was the encoder


def solo_learn_config(
    file: Path, state: Mapping[str, Tensor], named: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The complete config of a checkpoint that one of solo-learn's own methods wrote.

    Args:
        file: the checkpoint; its ``args.json`` lies beside it.
        state: its weights.
        named: settings of :class:`EncoderSettings` that the user gave.

    Returns:
        The config, and the weights of its backbone.

    Raises:
        UserError: there is no usable ``args.json``, the weights contradict the stem, or a setting
            is for other checkpoints.
    """
    for key in ("batch_norm", "network"):
        if key in named:
            raise UserError(
                f"encoder.{key}={named[key]}: {file} is solo-learn's, which has one backbone with "
                "one batch norm in each place. Leave the key out."
            )
    state = {
        _OF_BACKBONE.sub("backbone.", name, count=1): value
        for name, value in state.items()
        if _OF_BACKBONE.match(name)
    }
    args = _args_beside(file)
    backbone, data = {**args["backbone"]}, {**args["data"]}
    backbone |= {"name": named.get("backbone", backbone["name"])}
    backbone |= {"stem": named.get("stem", backbone.get("stem"))}
    data |= {key: named[key] for key in ("image_size", "mean", "std") if key in named}
    config = solo_config.complete({**args, "backbone": backbone, "data": data})
    if "image_size" in named:
        config["crops"]["size"] = named["image_size"]
    _check_stem(file, state, config)
    return config, state


def solo_learn_words(config: Mapping[str, Any]) -> str:
    """What was taken from the ``args.json`` and the user's settings, for the user."""
    backbone, data = config["backbone"], config["data"]
    resnet = backbone["name"].startswith("resnet")
    stem = f"the {backbone['stem']} stem ({STEM_WORDS[backbone['stem']]}); " if resnet else ""
    return (
        f"{backbone['name']} of solo-learn, as its args.json and encoder.* say: {stem}mean "
        f"{list(data['mean'])} and std {list(data['std'])}; images of {config['crops']['size']} "
        "pixels"
    )


def _args_beside(file: Path) -> dict[str, Any]:
    args = file.with_name("args.json")
    try:
        config = json.loads(args.read_text(encoding="utf-8"))
        if isinstance(config.get("backbone", config.get("encoder")), str):
            return solo_config.of_flat(config)
        config["backbone"]["name"], config["data"]["dataset"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{args} is not the config of a solo-learn run: {error!r}.") from error
    return solo_config.resolved(config)


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
