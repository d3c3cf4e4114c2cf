"""A report: what was measured, and all that is needed to believe it or to repeat it."""

import json
import math
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import Any

from solo_adv.report.measurement import CLEAN, Measurement, by_label, under_attack
from solo_adv.report.older import report_of_format_1
from solo_adv.support.errors import UserError

FILE = "report.json"
FORMAT = 2
"""Of the JSON. The first format had no number and a field for each figure; it is still read."""


@dataclass(kw_only=True)
class Report:
    """What ``report.json`` holds. Times are seconds."""

    method: str
    checkpoint: str
    measurements: list[Measurement]
    alarms: list[str]
    """Reasons not to believe the figures; see ``alarms.py``."""
    config: dict[str, Any]
    """The settings of the evaluation."""
    pretrain_config: dict[str, Any]
    crop_passes: int | None
    """Forward-and-backward passes of a crop during pretraining: the unit of compute."""
    versions: dict[str, str | None]
    git_commit: str | None
    data: dict[str, Any]
    """Name, number of images and of classes, and fingerprints of both splits."""
    hardware: dict[str, Any]
    seconds: dict[str, float]
    """Of the stages that measure nothing themselves, and of the whole (``total``)."""
    date: str
    probes: dict[str, Any] | None = None
    """Measurements behind the alarms (see ``probes.py``); None if switched off."""
    weights: dict[str, Any] | None = None
    """Fingerprints of the ``encoder`` that was judged and of the ``head`` (None if the encoder was
    fine-tuned with it), and whether the head was ``given`` or trained here. None: an old report."""

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
        """Plain values that JSON can hold."""
        held = {f.name: getattr(self, f.name) for f in fields(self)}
        measurements = [asdict(measurement) for measurement in self.measurements]
        plain: dict[str, Any] = plain_values(
            {"format": FORMAT, **held, "measurements": measurements}
        )
        return plain

    @classmethod
    def read(cls, path: str | Path) -> "Report":
        """The report in a file, of this or an older format.

        Raises:
            UserError: it cannot be read, or is not a whole report.
        """
        try:
            held = json.loads(Path(path).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise UserError(f"{path} cannot be read as a report: {error}") from error
        number = held.get("format", 1) if isinstance(held, Mapping) else None
        if number not in (1, FORMAT):
            raise UserError(
                f"{path} is not a report of main_robust.py, or one of format {number}, for which "
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
        given["config"] = {"norm": "linf", **held["config"]}  # before there was another
        given["measurements"] = [Measurement.from_dict(m) for m in held["measurements"]]
        return cls(**given)


def plain_values(value: Any) -> Any:
    """As JSON can hold it; what it has no form for as text."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, Mapping):
        return {str(key): plain_values(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set)):
        return [plain_values(item) for item in value]
    return str(value)
