"""The teacher whose outputs an objective may use: a frozen encoder, or the averaged weights."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor, nn

from solo_adv.encoders.checkpoint import find_checkpoint
from solo_adv.encoders.encoder import FEATURES, Encoder
from solo_adv.encoders.loading import encoder_from
from solo_adv.support.checks import choice
from solo_adv.support.errors import UserError
from solo_adv.support.fingerprints import weights_fingerprint

KINDS = ("none", "network", "average")


@dataclass(frozen=True, kw_only=True)
class TeacherSettings:
    """Keys of the ``teacher`` section.

    Attributes:
        kind: ``none``; ``network``, the frozen encoder in ``checkpoint``; or ``average``, the
            averaged copy of the weights in training (``averaging.decay`` must be above 0).
        checkpoint: for ``kind=network``, a ``.ckpt`` file or a run's directory, of this package's
            methods or of solo-learn's.
        features: for ``kind=network``, which of its features the objective sees; see ``Encoder``.
        start_student: for ``kind=network``, whether the student's backbone starts from the
            teacher's weights. Both must be the same network.
        weights: fingerprint of the teacher's weights. The run fills it in, so that runs with
            different teachers are told apart and a run does not continue with another teacher.

    Raises:
        UserError: a value is not accepted, or a key contradicts the kind.
    """

    kind: str = "none"
    checkpoint: str | None = None
    features: str = "auto"
    start_student: bool = False
    weights: str | None = None

    def __post_init__(self) -> None:
        choice("teacher.kind", self.kind, KINDS)
        choice("teacher.features", self.features, FEATURES)
        if self.kind == "network" and not self.checkpoint:
            raise UserError(
                "teacher.kind=network needs teacher.checkpoint=PATH: the .ckpt file or the "
                "directory of a pretraining run."
            )
        if self.kind != "network" and self.start_student:
            raise UserError(
                f"teacher.start_student=true takes the weights of teacher.kind=network; got "
                f"teacher.kind={self.kind}."
            )
        if self.kind != "network" and self.checkpoint is not None:
            raise UserError(
                f"teacher.checkpoint={self.checkpoint} is given, but teacher.kind={self.kind} "
                "reads no checkpoint: set teacher.kind=network."
            )


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


def read_teacher(settings: TeacherSettings) -> tuple[Encoder, str]:
    """Load the encoder of ``kind=network``.

    Returns:
        The encoder, frozen and on the CPU, and the fingerprint of its weights.

    Raises:
        UserError: the checkpoint cannot be read, or its weights are not ``settings.weights``.
    """
    assert settings.checkpoint is not None
    file = find_checkpoint(settings.checkpoint)
    encoder, fingerprint = _read(file, file.stat().st_mtime_ns, settings.features)
    if settings.weights not in (None, fingerprint):
        raise UserError(
            f"The weights of the teacher in {file} ({fingerprint}) differ from those that this run "
            f"began with ({settings.weights}): give the checkpoint that it began with, or start a "
            "new run."
        )
    return encoder, fingerprint


@lru_cache(maxsize=1)  # because a config is checked more than once
def _read(file: Path, modified: int, features: str) -> tuple[Encoder, str]:
    encoder = encoder_from(file, features=features)
    return encoder, weights_fingerprint(encoder.state_dict())
