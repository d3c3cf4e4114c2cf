"""The result of an evaluation and all that is needed to believe or repeat it."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from torch import Tensor

_NOT_IN_JSON = ("examples", "head_state")


@dataclass(frozen=True, kw_only=True)
class AttackResult:
    """How many of ``total`` images an attack left correctly classified."""

    name: str
    steps: int
    step_size: float | None
    """None: the attack chooses it itself."""
    restarts: int
    random_start: bool
    epsilon: float
    epsilon_text: str
    """Such as ``8/255``."""
    accuracy: float
    """``correct / total``, a fraction."""
    correct: int
    total: int
    seconds: float
    notes: list[str] = field(default_factory=list)
    broken_by: dict[str, int] = field(default_factory=dict)
    """Of several attacks in a row: how many images each broke that those before it had not."""


@dataclass(frozen=True, kw_only=True)
class Examples:
    """Images (N, 3, H, W) in [0, 1] before and after an attack, and what the classifier sees.

    Where each crop is attacked, the first crop of each image.
    """

    clean: Tensor
    attacked: Tensor
    epsilon: float
    truth: list[str]
    """Class names, as the next two."""
    before: list[str]
    after: list[str]


@dataclass(kw_only=True)
class Report:
    """What ``report.json`` holds. Accuracies are fractions; times are seconds."""

    method: str
    checkpoint: str
    protocol: str
    linear: str
    features: str
    clean: float
    clean_top5: float
    knn: float
    attacks: list[AttackResult]
    alarms: list[str]
    """Reasons not to believe the figures; see ``alarms.py``."""
    num_images: int
    """Test images that every figure was measured on."""
    head: dict[str, Any]
    config: dict[str, Any]
    pretrain_config: dict[str, Any]
    crop_passes: int | None
    """Forward-and-backward passes of a crop during pretraining: the unit of compute."""
    seed: int
    versions: dict[str, str | None]
    git_commit: str | None
    data: dict[str, Any]
    hardware: dict[str, Any]
    seconds: dict[str, float]
    date: str
    probes: dict[str, Any] | None = None
    """Measurements behind the alarms (see ``probes.py``); None if switched off."""
    weights: dict[str, Any] | None = None
    """Fingerprints of the ``encoder`` that was judged and of the ``head`` (None if the encoder was
    fine-tuned with it), and whether the head was ``given`` or trained here. None: an old report."""
    examples: Examples | None = None
    """For the picture only; not in the JSON."""
    head_state: dict[str, Tensor] | None = None
    """The head's weights, written beside the JSON; None if the encoder was fine-tuned with it."""

    def to_dict(self) -> dict[str, Any]:
        """All but the examples and the head, in plain values that JSON can hold."""
        held = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in _NOT_IN_JSON}
        plain: dict[str, Any] = _plain({**held, "attacks": [asdict(a) for a in self.attacks]})
        return plain

    @classmethod
    def read(cls, path: str | Path) -> "Report":
        """The report in a ``report.json``."""
        held = json.loads(Path(path).read_text(encoding="utf-8"))
        return cls(**{**held, "attacks": [AttackResult(**attack) for attack in held["attacks"]]})


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set)):
        return [_plain(item) for item in value]
    return str(value)
