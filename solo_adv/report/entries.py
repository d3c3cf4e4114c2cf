"""A ``report.json`` as a row of the merged table, with the paper's figures for it."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from solo_adv.adversaries.ball import epsilon_text
from solo_adv.paper import Figure, figures, model_of
from solo_adv.support.errors import UserError

FILE = "report.json"
_NEEDED = frozenset(
    {
        *("method", "checkpoint", "protocol", "linear", "features", "clean", "attacks", "alarms"),
        *("num_images", "config", "pretrain_config", "data"),
    }
)


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One accuracy of a report, and what the paper prints for it."""

    name: str
    """``clean``, or attack and epsilon, such as ``PGD-20 8/255``."""
    attack: str | None
    epsilon: float
    """A fraction of the pixel range; 0 for clean."""
    accuracy: float
    """Percent."""
    paper: tuple[Figure, ...]
    """More than one if the paper prints different values."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One report: a model under one evaluation."""

    model: str
    """Name of the run (``name`` of the pretraining config)."""
    method: str
    row: str | None
    """The paper's model that was trained, if it is one of them."""
    settings: str
    dataset: str
    head: str
    protocol: str
    num_crops: int | None
    space: str
    """What was attacked: ``crop`` or ``image``."""
    features: str
    finetune: str
    """``none`` unless the encoder was fine-tuned with the head."""
    measurements: tuple[Measurement, ...]
    num_images: int
    crop_passes: int | None
    alarms: tuple[str, ...]
    checkpoint: str
    file: Path

    @property
    def evaluation(self) -> str:
        """Head, protocol and features in a few words."""
        words = ["r-LE head" if self.head == "robust" else f"{self.head} head"]
        if self.finetune != "none":
            words = [f"{self.finetune} fine-tuning"]
        if self.protocol == "crops":
            words.append(f"{self.num_crops} crops")
            if self.space != "crop":
                words.append(f"attacked in {self.space} space")
        elif self.protocol != "central":
            words.append(self.protocol)
        if self.features != "hidden":
            words.append(self.features)
        return ", ".join(words)

    def accuracy(self, attack: str | None, epsilon: float) -> Measurement | None:
        """The measurement of an attack, None for clean, at an epsilon."""
        return next(
            (
                m
                for m in self.measurements
                if m.attack == attack and abs(m.epsilon - epsilon) < 1e-6
            ),
            None,
        )


def find_reports(places: Iterable[str | Path]) -> list[Path]:
    """Every ``report.json`` in or below the places; a place may also be such a file.

    Raises:
        UserError: a place does not exist, or there is no report in any of them.
    """
    given = [Path(place) for place in places]
    found: dict[Path, None] = {}
    for place in given:
        if not place.exists():
            raise UserError(f"No such directory: '{place}'.")
        files = [place] if place.is_file() else sorted(place.rglob(FILE))
        found |= dict.fromkeys(file.resolve() for file in files)
    if not found:
        where = ", ".join(f"'{place}'" for place in given)
        raise UserError(f"No {FILE} in or below {where}. main_robust.py writes them.")
    return list(found)


def read_entry(file: Path) -> Entry:
    """The report in a file.

    Raises:
        UserError: it cannot be read or is not a report of this package.
    """
    try:
        held = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{file} cannot be read as a report: {error}") from error
    missing = sorted(_NEEDED - held.keys()) if isinstance(held, dict) else ["everything"]
    if missing:
        raise UserError(
            f"{file} is not a report of main_robust.py: it lacks {', '.join(missing)}. Move it "
            "away or name other directories."
        )
    try:
        return _entry(file, held)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{file} is not a whole report: {error!r}") from error


def _entry(file: Path, held: dict[str, Any]) -> Entry:
    config = held["pretrain_config"]
    dataset = str(held["data"]["name"])
    place = {
        "row": model_of(config),
        "dataset": dataset,
        "head": held["linear"],
        "protocol": held["protocol"],
        "num_crops": held["config"].get("num_crops") if held["protocol"] == "crops" else None,
    }
    finetune, space = held["config"].get("finetune", "none"), held["config"].get("space", "crop")
    comparable = (
        place["row"] is not None
        and held["features"] == "hidden"
        and finetune == "none"
        and (space == "crop" or held["protocol"] == "central")
    )

    def measured(name: str, attack: str | None, epsilon: float, accuracy: float) -> Measurement:
        paper = _printed(place, attack or "clean", epsilon) if comparable else ()
        return Measurement(
            name=name, attack=attack, epsilon=epsilon, accuracy=100 * accuracy, paper=paper
        )

    attacks = sorted(held["attacks"], key=lambda a: (a["name"] == "AutoAttack", a["name"]))
    return Entry(
        **place,
        model=str(config.get("name") or held["method"]),
        method=held["method"],
        settings=describe(config),
        features=held["features"],
        finetune=finetune,
        space=space,
        measurements=(
            measured("clean", None, 0.0, held["clean"]),
            *(
                measured(
                    f"{a['name']} {epsilon_text(a['epsilon'])}",
                    a["name"],
                    a["epsilon"],
                    a["accuracy"],
                )
                for a in sorted(attacks, key=lambda a: a["epsilon"])
            ),
        ),
        num_images=held["num_images"],
        crop_passes=held.get("crop_passes"),
        alarms=tuple(held["alarms"]),
        checkpoint=held["checkpoint"],
        file=file,
    )


def _printed(place: Mapping[str, Any], quantity: str, epsilon: float) -> tuple[Figure, ...]:
    """The paper's figures for a measurement, each value once; where it names no head, any fits."""
    found = figures(**place, quantity=quantity, epsilon=epsilon)
    found = found or figures(**{**place, "head": None}, quantity=quantity, epsilon=epsilon)
    return tuple({figure.value: figure for figure in found}.values())


def describe(config: Mapping[str, Any]) -> str:
    """What sets a training run apart, in a few words."""
    crops, adversary = config.get("crops") or {}, config.get("adversary") or {}
    scale = crops.get("scale") or [0, 1]
    words = []
    if (config.get("backbone") or {}).get("name", "resnet18") != "resnet18":
        words.append(config["backbone"]["name"])
    if "num_crops" in crops:
        one, many = ("patch", "patches") if scale[0] == scale[1] else ("crop", "crops")
        words.append(f"{crops['num_crops']} {one if crops['num_crops'] == 1 else many}")
    if "replays" in adversary:
        words.append(f"m={adversary['replays']}")
    elif "steps" in adversary:
        words.append(f"PGD-{adversary['steps']}")
    if "max_epochs" in config:
        words.append(f"{config['max_epochs']} epochs")
    if config.get("preset"):
        words.append(f"preset {config['preset']}")
    return ", ".join(words)
