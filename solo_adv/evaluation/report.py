"""The result of an evaluation and all that is needed to believe or repeat it."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from safetensors.torch import save
from torch import Tensor

from solo_adv.errors import UserError
from solo_adv.evaluation.attacks import AttackResult
from solo_adv.evaluation.examples import Examples
from solo_adv.evaluation.files import write_whole
from solo_adv.evaluation.markdown import page

HEAD_FILE = "head.safetensors"
_NOT_IN_JSON = ("examples", "head_state")


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

    def write(self, directory: str | Path) -> dict[str, Path]:
        """Write ``report.json``, ``.md`` and ``.png`` and ``head.safetensors`` into ``directory``.

        The directory is made if need be. Each file appears whole or not at all, the JSON last.

        Returns:
            The paths by kind: ``head`` (unless the encoder was fine-tuned), ``png``, ``md``,
            ``json``.

        Raises:
            UserError: the directory cannot be written to.
        """
        from solo_adv.evaluation.picture import draw  # noqa: PLC0415  matplotlib is slow to load

        content = {} if self.head_state is None else {"head": save(self.head_state)}
        content |= {
            "png": draw(self),
            "md": page(self).encode(),
            "json": (json.dumps(self.to_dict(), indent=2, allow_nan=False) + "\n").encode(),
        }
        directory = Path(directory)
        paths = {
            kind: directory / (HEAD_FILE if kind == "head" else f"report.{kind}")
            for kind in content
        }
        try:
            directory.mkdir(parents=True, exist_ok=True)
            for kind, path in paths.items():
                write_whole(path, content[kind])
        except OSError as error:
            raise UserError(
                f"Cannot write the report into '{directory}' ({error.strerror}). "
                "Choose another directory."
            ) from error
        return paths

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
