"""A report: what was measured, and everything that is needed to check or repeat it."""

import json
import math
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any

from solo_adv.report.measurement import CLEAN, Measurement, by_label, under_attack
from solo_adv.report.older import report_of_format_1
from solo_adv.support.errors import UserError

FILE = "report.json"
FORMAT = 2
"""Number of the JSON's format. The first format had no number and a field for each figure. It can
still be read."""


@dataclass(kw_only=True)
class Report:
    """The contents of ``report.json``. Times are in seconds."""

    method: str
    checkpoint: str
    measurements: list[Measurement]
    alarms: list[str]
    """Reasons not to trust the figures; see ``evaluation/trust/alarms.py``."""
    config: dict[str, Any]
    """The settings of the evaluation."""
    pretrain_config: dict[str, Any]
    crop_passes: int | None
    """Number of forward-and-backward passes of single crops during pretraining, the unit of
    compute; None if it is unknown."""
    versions: dict[str, str | None]
    git_commit: str | None
    data: dict[str, Any]
    """Name, number of classes, their names if they are known, and number of images and fingerprint
    of both splits."""
    hardware: dict[str, Any]
    seconds: dict[str, float]
    """Duration of each stage that makes no measurement, and of the whole evaluation (``total``)."""
    date: str
    probes: dict[str, Any] | None = None
    """The results of the probes that some alarms judge (see ``evaluation/trust/probes.py``); None
    if they were switched off."""
    weights: dict[str, Any] | None = None
    """Fingerprints of the ``encoder`` that was judged and of the ``head`` (None if the encoder was
    fine-tuned with it), and ``head_given``, whether the head was given instead of trained here.
    Old reports have None."""
    given: dict[str, Any] | None = None
    """What else was set for this evaluation, under names such as ``data.val_path``,
    ``encoder.stem`` and ``head_weights``; None if it is not known."""

    @property
    def by_label(self) -> dict[str, Measurement]:
        """The measurements under their labels, such as ``clean`` or ``PGD-20 at 8/255``."""
        return by_label(self.measurements)

    @property
    def attacks(self) -> list[Measurement]:
        """The measurements under attack, in their order."""
        return under_attack(self.measurements)

    @property
    def num_images(self) -> int:
        """How many test images were judged."""
        return self.by_label[CLEAN].total

    def to_dict(self) -> dict[str, Any]:
        """The report as plain values that JSON can hold."""
        held = {f.name: getattr(self, f.name) for f in fields(self)}
        measurements = [measurement.to_dict() for measurement in self.measurements]
        plain: dict[str, Any] = plain_values(
            {"format": FORMAT, **held, "measurements": measurements}
        )
        return plain

    @classmethod
    def read(cls, path: str | Path) -> "Report":
        """Read a report of this or an older format.

        Raises:
            UserError: the file cannot be read, or is not a complete report.
        """
        try:
            held = json.loads(Path(path).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise UserError(f"{path} cannot be read as a report: {error}") from error
        number = held.get("format", 1) if isinstance(held, Mapping) else None
        if number not in (1, FORMAT):
            raise UserError(
                f"{path} is not a report of main_robust.py, or it has format {number}, for which "
                f"this solo-adv is too old: it reads formats 1 and {FORMAT}."
            )
        try:
            report = cls._of_dict(report_of_format_1(held) if number == 1 else held)
            _ = report.by_label[CLEAN]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise UserError(f"{path} is not a whole report: {error!r}.") from error
        return report

    @classmethod
    def _of_dict(cls, held: Mapping[str, Any]) -> "Report":
        missing = [f.name for f in fields(cls) if f.default is MISSING and f.name not in held]
        if missing:
            raise KeyError(*missing)
        given = {name: value for name, value in held.items() if name != "format"}
        # Reports from before L2 was added do not name their norm.
        given["config"] = {"norm": "linf", **held["config"]}
        given["measurements"] = [Measurement.from_dict(m) for m in held["measurements"]]
        return cls(**given)


def plain_values(value: Any) -> Any:
    """Convert to values that JSON can hold. Values that it cannot represent become text."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, Mapping):
        return {str(key): plain_values(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set)):
        return [plain_values(item) for item in value]
    return str(value)
