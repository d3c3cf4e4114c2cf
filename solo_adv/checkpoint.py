"""From a checkpoint back to an encoder: pixels in, features out."""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any, overload

import torch
from torch import Tensor, nn

from solo_adv.backbones import STEMS, Normalization, build_backbone
from solo_adv.checks import choice, is_number, known_keys, whole
from solo_adv.errors import UserError
from solo_adv.host import solo_config
from solo_adv.integrity import verify
from solo_adv.methods.projector import Projector
from solo_adv.weights import fill

if TYPE_CHECKING:
    from solo_adv.evaluation.classifier import Classifier

FEATURES = ("auto", "hidden", "backbone", "projector")
ZOO_NAME = re.compile(r"[A-Za-z0-9]+([_-][A-Za-z0-9]+)*")
"""What can be meant for a model of the zoo and not for a path."""


@dataclass(frozen=True, kw_only=True)
class EncoderSettings:
    """What to take for granted of a solo-learn checkpoint, whatever its ``args.json`` says.

    Attributes:
        backbone: name, as ``backbones.build_backbone`` takes it.
        stem: of a ResNet: ``cifar`` (padding 1), ``cifar_padding2`` (solo-learn's) or ``imagenet``.
        image_size: side of the images that the encoder takes, in pixels.
        mean, std: by which they are normalised, of the three channels.

    Raises:
        UserError: a value is not accepted.
    """

    backbone: str | None = None
    stem: str | None = None
    image_size: int | None = None
    mean: list[float] | None = None
    std: list[float] | None = None

    def __post_init__(self) -> None:
        if self.stem is not None:
            choice("encoder.stem", self.stem, STEMS[1:])
        if self.image_size is not None:
            whole("encoder.image_size", self.image_size, 1)
        for name in ("mean", "std"):
            value = getattr(self, name)
            three = isinstance(value, list | tuple) and len(value) == 3
            if value is not None and not (three and all(map(is_number, value))):
                raise UserError(f"encoder.{name} must be three numbers; got {value}.")

    @classmethod
    def from_config(cls, mapping: Mapping[str, Any]) -> "EncoderSettings":
        """From a configuration group.

        Raises:
            UserError: an unknown key, or a value that is not accepted.
        """
        known_keys("encoder", mapping, cls)
        return cls(**mapping)

    @property
    def named(self) -> dict[str, Any]:
        """What is not None."""
        return {key: value for key, value in asdict(self).items() if value is not None}


class Encoder(nn.Module):
    """A pretrained encoder in eval mode: pixels (N, 3, H, W) in [0, 1] to features (N, D).

    Args:
        config: complete pretraining config.
        features: ``hidden`` (after the projector's first layer: what the paper evaluates),
            ``projector`` (the unit embeddings), ``backbone``, or ``auto``: ``hidden`` where the
            checkpoint has this package's projector, else ``backbone``.
        with_projector: whether it has this package's projector.
        crop_passes: how many crop passes it was trained for; None if nobody counted.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        features: str,
        *,
        with_projector: bool = True,
        crop_passes: int | None = None,
    ) -> None:
        super().__init__()
        choice("features", features, FEATURES)
        if features == "auto":
            features = "hidden" if with_projector else "backbone"
        if features != "backbone" and not with_projector:
            raise UserError(
                f"features={features}: an encoder of solo-learn's method {config['method']} has "
                "no projector that this package knows; use features=backbone."
            )
        self.config = dict(config)
        self.features = features
        self.crop_passes = crop_passes
        data, backbone = config["data"], config["backbone"]
        self.normalization = Normalization(data.get("mean"), data.get("std"))
        self.image_size: int = config["crops"]["size"]
        self.backbone, backbone_dim = build_backbone(
            backbone["name"],
            image_size=self.image_size,
            stem=backbone.get("stem", "auto"),
            **(backbone.get("kwargs") or {}),
        )
        self.features_dim = backbone_dim
        if with_projector:
            kwargs = config["method_kwargs"]
            hidden_dim, output_dim = kwargs["proj_hidden_dim"], kwargs["proj_output_dim"]
            self.projector = Projector(backbone_dim, hidden_dim, output_dim)
            dims = {"hidden": hidden_dim, "projector": output_dim, "backbone": backbone_dim}
            self.features_dim = dims[features]

    def forward(self, images: Tensor) -> Tensor:
        """Features (N, D) of pixels (N, 3, H, W), float in [0, 1]."""
        features: Tensor = self.backbone(self.normalization(images))
        if self.features == "backbone":
            return features
        if self.features == "hidden":
            return self.projector.hidden(features)
        return self.projector(features)[1]


@overload
def load_pretrained(
    path: str | Path,
    *,
    features: str = ...,
    settings: EncoderSettings | None = ...,
    head: None = ...,
) -> Encoder: ...


@overload
def load_pretrained(
    path: str | Path, *, features: str = ..., settings: EncoderSettings | None = ..., head: str
) -> "Classifier": ...


def load_pretrained(
    path: str | Path,
    *,
    features: str = "auto",
    settings: EncoderSettings | None = None,
    head: str | None = None,
) -> "Encoder | Classifier":
    """A pretrained encoder, on the CPU, in eval mode, its weights frozen.

    Args:
        path: a ``.ckpt`` file, or the directory of a run (its newest checkpoint): of this package's
            methods, under either host, or of solo-learn's own. Or the name of a model of the zoo
            (``python -m solo_adv.zoo list``), which is downloaded once.
        features: ``hidden``, ``backbone``, ``projector`` or ``auto``; see :class:`Encoder`.
        settings: what the ``args.json`` of a solo-learn checkpoint does not say, or wrongly.
        head: of a model of the zoo, ``linear`` or ``robust_linear``: a classifier from pixels
            (N, 3, H, W) in [0, 1] to logits (N, K), instead of the encoder.

    Raises:
        UserError: no such file or name, not a checkpoint, it does not fit its config, its stem is
            unknown, or the model has no such head.
    """
    if not Path(path).exists() and ZOO_NAME.fullmatch(str(path)):
        from solo_adv.zoo.loading import load  # noqa: PLC0415  the zoo builds on this module

        return load(str(path), features=features, head=head, settings=settings)
    if head is not None:
        raise UserError(
            f"head={head} is for models of the zoo, and {path} is none. Train a head with "
            "main_robust.py, which writes head.safetensors beside its report."
        )
    file = find_checkpoint(path)
    checkpoint = read_checkpoint(file)
    state = {
        name: value
        for name, value in checkpoint["state_dict"].items()
        if name.startswith(("backbone.", "projector."))
    }
    named = (settings or EncoderSettings()).named
    if "solo_adv" in checkpoint:
        saved = checkpoint["solo_adv"]
        if named:
            raise UserError(
                f"{file} says itself how its encoder is built; encoder.{next(iter(named))} is for "
                "checkpoints of solo-learn's own methods."
            )
        encoder = Encoder(saved["config"], features, crop_passes=saved["crop_passes"])
    else:
        state = {name: value for name, value in state.items() if name.startswith("backbone.")}
        config = _solo_learn_config(file, state, named)
        encoder = Encoder(config, features, with_projector=False)
    fill(encoder, state, file)
    return encoder.requires_grad_(False).eval()


def find_checkpoint(path: str | Path) -> Path:
    """The checkpoint file that ``path``, a file or a run's directory, means."""
    path = Path(path)
    if path.is_dir():
        files = sorted(path.glob("*.ckpt"), key=lambda file: file.stat().st_mtime)
        if not files:
            raise UserError(f"No checkpoint (*.ckpt) in the directory {path}.")
        return files[-1]
    if not path.exists():
        raise UserError(
            f"No checkpoint at {path}. Give the .ckpt file that pretraining printed, or its "
            "directory: trained_models/<method>/<version>."
        )
    return path


def read_checkpoint(file: Path) -> dict[str, Any]:
    """The contents of a training checkpoint; nothing in it is executed.

    Raises:
        UserError: it is not one.
    """
    verify(file)
    try:
        checkpoint = torch.load(file, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        raise UserError(
            f"{file} is not a readable checkpoint: it is no PyTorch file, or holds more than "
            "tensors and plain values, which is refused because loading it would run code."
        ) from error
    except Exception as error:  # damaged files, where they have no checksum, fail in many ways
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{file} is not a readable checkpoint: {reason}") from error
    if not isinstance(checkpoint, dict) or "state_dict" not in checkpoint:
        raise UserError(f"{file} is not a training checkpoint: it holds no 'state_dict'.")
    return checkpoint


def _solo_learn_config(
    file: Path, state: Mapping[str, Tensor], named: Mapping[str, Any]
) -> dict[str, Any]:
    """The complete config of a checkpoint of solo-learn's own methods."""
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
    """In the place of ``args.json``, what the user said instead."""
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
    """Refuse a stem that the weights contradict: its padding, which they do not show, is a guess.

    Raises:
        UserError: they do.
    """
    convolution = state.get("backbone.conv1.weight")
    if convolution is None or not config["backbone"]["name"].startswith("resnet"):
        return  # no ResNet's weights: they are refused where they do not fit
    stem, kernel = config["backbone"]["stem"], convolution.shape[-1]
    if kernel != (7 if stem == "imagenet" else 3):
        raise UserError(
            f"The stem of {file} is unknown: its first convolution is {kernel}x{kernel}, which is "
            f"not the {stem} stem that its config stands for "
            f"(data.dataset={config['data'].get('dataset')}). "
            f"Name it with encoder.stem=STEM. Accepted: {', '.join(STEMS[1:])}."
        )
