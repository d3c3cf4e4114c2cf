"""The teacher whose outputs an objective may use: a frozen encoder, or the averaged weights."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from solo_adv.encoders.encoder import FEATURES, Encoder
from solo_adv.encoders.foreign import EncoderSettings
from solo_adv.encoders.specification import resolve_name
from solo_adv.pretrained import file_of, load_pretrained
from solo_adv.support.checks import choice, flag, number, whole
from solo_adv.support.errors import UserError
from solo_adv.support.fingerprints import weights_fingerprint

KINDS = ("none", "network", "average", "bank")


@dataclass(frozen=True, kw_only=True)
class TeacherSettings:
    """Keys of the ``teacher`` section.

    Attributes:
        kind: ``none``; ``network``, the frozen encoder in ``checkpoint``; ``average``, the averaged
            copy of the weights in training (``averaging.decay`` must be above 0); or ``bank``, the
            mean features of many crops of each image, which the encoder in ``checkpoint`` computes
            once before training.
        checkpoint: for ``kind=network`` and ``bank``, whatever ``load_pretrained`` takes: a
            ``.ckpt`` file or a run's directory, of this package's methods or of solo-learn's; a
            name of the zoo; ``timm:NAME`` or ``timm:NAME@FILE``.
        features: which of the encoder's features the objective sees; see ``Encoder``.
        encoder: what the checkpoint of another repository does not say: the fields of
            ``EncoderSettings``, of which those that are missing or None are recognised.
        start_student: whether the student's backbone starts from the encoder's weights. Both must
            be the same network.
        crops: for ``kind=bank``, the number of crops of each image.
        min_scale: for ``kind=bank``, the smallest share of the image's area that a crop has, in
            (0, 1]. With 1 every crop is the whole image.
        center: for ``kind=bank``, whether the objective compares features after the mean of all
            targets was subtracted. Features after a ReLU are never negative, so that all of them
            point into similar directions without it.
        clusters: for ``kind=bank``, the number of clusters that k-means makes of the targets. They
            are the labels of an objective that needs clusters. 0 makes none.
        weights: fingerprint of the teacher's weights. The run fills it in, so that runs with
            different teachers are told apart and a run does not continue with another teacher.

    Raises:
        UserError: a value is not accepted, or a key contradicts the kind.
    """

    kind: str = "none"
    checkpoint: str | None = None
    features: str = "auto"
    encoder: Mapping[str, Any] | None = None
    start_student: bool = False
    crops: int = 16
    min_scale: float = 0.25
    center: bool = True
    clusters: int = 0
    weights: str | None = None

    def __post_init__(self) -> None:
        choice("teacher.kind", self.kind, KINDS)
        choice("teacher.features", self.features, FEATURES)
        whole("teacher.crops", self.crops, 1)
        number("teacher.min_scale", self.min_scale, above_zero=True, most=1.0)
        flag("teacher.center", self.center)
        if self.named and not self.reads_checkpoint:
            raise UserError(
                f"teacher.encoder.{next(iter(self.named))} describes teacher.checkpoint, but "
                f"teacher.kind={self.kind} reads none: set teacher.kind=network or bank."
            )
        whole("teacher.clusters", self.clusters, 0)
        if self.clusters == 1:
            raise UserError("teacher.clusters must be 0 or at least 2; got 1.")
        if self.reads_checkpoint and not self.checkpoint:
            raise UserError(
                f"teacher.kind={self.kind} needs teacher.checkpoint=PATH: the .ckpt file or the "
                "directory of a pretraining run, a name of the zoo, or timm:NAME."
            )
        if not self.reads_checkpoint and self.start_student:
            raise UserError(
                "teacher.start_student=true takes the weights of teacher.kind=network or bank; got "
                f"teacher.kind={self.kind}."
            )
        if not self.reads_checkpoint and self.checkpoint is not None:
            raise UserError(
                f"teacher.checkpoint={self.checkpoint} is given, but teacher.kind={self.kind} "
                "reads no checkpoint: set teacher.kind=network or bank."
            )
        if self.kind != "bank" and self.clusters:
            raise UserError(
                f"teacher.clusters={self.clusters} needs teacher.kind=bank; got "
                f"teacher.kind={self.kind}."
            )

    @property
    def reads_checkpoint(self) -> bool:
        """Whether an encoder is loaded from ``checkpoint``."""
        return self.kind in ("network", "bank")

    @property
    def named(self) -> dict[str, Any]:
        """The settings of ``encoder`` that are not None.

        Raises:
            UserError: a key is unknown, or a value is not accepted.
        """
        with _of_teacher():
            return EncoderSettings.from_config(self.encoder or {}).named

    @property
    def passes_crops(self) -> bool:
        """Whether the teacher passes the crops of every batch."""
        return self.kind in ("network", "average")

    @property
    def bank_passes(self) -> float:
        """Crop passes for each training image before training, of which a bank needs some."""
        return self.crops * FORWARD if self.kind == "bank" else 0.0


@contextmanager
def _of_teacher() -> Iterator[None]:
    """Context in which errors name the settings of an encoder as those of the teacher's."""
    try:
        yield
    except UserError as error:
        told = re.sub(r"(?<![\w./])encoder(?=\.\w+(=| must))", "teacher.encoder", str(error))
        raise UserError(told) from error


class FrozenTeacher:
    """A pretrained encoder in eval mode. It is neither trained nor saved with the student.

    Args:
        encoder: network from pixels (N, 3, h, w) in [0, 1] to features (N, D').
    """

    def __init__(self, encoder: Encoder) -> None:
        self.encoder = encoder

    @torch.no_grad()
    def __call__(self, pixels: Tensor) -> Tensor:
        """Compute features (N, D') in float32 (float64 for float64 pixels)."""
        exact = torch.float64 if pixels.dtype == torch.float64 else torch.float32
        self.encoder.to(device=pixels.device, dtype=exact)
        with torch.autocast(pixels.device.type, enabled=False):
            features: Tensor = self.encoder(pixels.to(exact))
        return features


FORWARD = 1 / 3
"""Cost of a forward pass alone, in crop passes. A backward pass takes about twice as long."""

Teacher = Callable[[Tensor], Tensor]
"""Takes clean crops (N, 3, h, w) in [0, 1] and returns the outputs (N, D') for the objective."""


def start_from(teacher: Encoder, backbone: nn.Module, source: object) -> None:
    """Give ``backbone`` the weights and batch statistics of the teacher's.

    Args:
        teacher: the teacher.
        backbone: the student's backbone.
        source: where the teacher comes from, for the message.

    Raises:
        UserError: they are different networks.
    """
    try:
        backbone.load_state_dict(teacher.backbone.state_dict())
    except RuntimeError as error:
        name = teacher.config["backbone"]["name"]
        raise UserError(
            f"teacher.start_student=true: the student's backbone is another network than that of "
            f"the teacher in {source} ({name}). Set backbone.name, backbone.stem and "
            "backbone.kwargs as the teacher has them, or teacher.start_student=false. "
            f"({' '.join(str(error).split())[:200]})"
        ) from error


def follow(teacher: Encoder, given: Mapping[str, Any], source: object) -> dict[str, Any]:
    """The settings of a student's backbone that starts from the teacher's weights.

    Args:
        teacher: the teacher.
        given: the config's ``backbone`` section. What it leaves open (null, or ``stem=auto``) is as
            the teacher has it.
        source: where the teacher comes from, for the message.

    Returns:
        The ``backbone`` section.

    Raises:
        UserError: the section contradicts the teacher.
    """
    theirs = teacher.config["backbone"]
    resnet = theirs["name"].startswith("resnet")
    has = {"name": theirs["name"], **({"stem": theirs.get("stem")} if resnet else {})}
    kwargs = dict(theirs.get("kwargs") or {})
    own = {k: v for k, v in given.items() if v is not None and (k, v) != ("stem", "auto")}
    own_kwargs = dict(own.pop("kwargs", {}))
    pairs = [
        *((key, own[key], has[key]) for key in has if key in own),
        *((f"kwargs.{key}", own_kwargs[key], kwargs[key]) for key in kwargs if key in own_kwargs),
    ]
    for key, value, needed in pairs:
        same = resolve_name(value) == resolve_name(needed) if key == "name" else value == needed
        if not same:
            raise UserError(
                f"backbone.{key}={value}, but the student starts from the teacher in {source}, "
                f"which has {needed}: leave the key out, or set teacher.start_student=false."
            )
    return {**given, **has, **own, "kwargs": {**kwargs, **own_kwargs}}


def read_teacher(settings: TeacherSettings) -> tuple[Encoder, str]:
    """Load the encoder of ``kind=network`` or ``bank``.

    Returns:
        The encoder, frozen and on the CPU, and the fingerprint of its weights.

    Raises:
        UserError: the checkpoint cannot be read, or its weights are not ``settings.weights``.
    """
    assert settings.checkpoint is not None
    file = file_of(settings.checkpoint)
    modified = file.stat().st_mtime_ns if file is not None and file.exists() else None
    source = settings.checkpoint if file is None else file
    named = json.dumps(settings.named)
    with _of_teacher():
        encoder, fingerprint = _read(settings.checkpoint, file, modified, settings.features, named)
    if settings.weights not in (None, fingerprint):
        raise UserError(
            f"The weights of the teacher in {source} ({fingerprint}) differ from those that this "
            f"run began with ({settings.weights}): give the checkpoint that it began with, or "
            "start a new run."
        )
    return encoder, fingerprint


@lru_cache(maxsize=1)  # because a config is checked more than once
def _read(
    checkpoint: str, file: Path | None, modified: int | None, features: str, named: str
) -> tuple[Encoder, str]:
    """Read a teacher anew if its file is another one, or was changed at the time ``modified``.

    ``named`` is the JSON of the settings that the user gave for it.
    """
    settings = EncoderSettings(**json.loads(named))
    encoder = load_pretrained(checkpoint, features=features, settings=settings)
    return encoder, weights_fingerprint(encoder.state_dict())
