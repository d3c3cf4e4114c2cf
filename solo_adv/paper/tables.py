"""Reads ``tables.yaml`` into one flat list of figures, each with its place and its mark."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

from omegaconf import OmegaConf

from solo_adv.adversaries import as_fraction

DATASETS = ("cifar10", "cifar100", "imagenet100")
EPSILON_TOLERANCE = 1e-6
PAPER_BACKBONE = "resnet18"
PAPER_NORM = "linf"
"""The norm of all attacks in the paper. Its figures are compared only with figures in this norm."""


@dataclass(frozen=True, kw_only=True)
class Mark:
    """Why a figure should not be trusted as printed."""

    kind: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One printed number and where it stands."""

    table: str
    row: str
    """The model, a key of :data:`MODELS`."""
    dataset: str | None
    """None for minutes, which the paper prints once for both CIFAR sets."""
    head: str | None
    """``standard`` or ``robust`` (r-LE); None where the paper does not say."""
    protocol: str
    """``central`` (the whole image) or ``crops`` (the mean embedding of ``num_crops`` crops)."""
    num_crops: int | None
    quantity: str
    """``clean``, ``PGD-20``, ``AutoAttack``, or ``minutes`` (of pretraining)."""
    epsilon: float
    """Radius of the attack as a fraction of the pixel range; 0 without an attack."""
    value: float
    """Percent, or minutes."""
    mark: Mark | None = None

    @property
    def measurement(self) -> tuple[Any, ...]:
        """All fields except table, value and mark; figures that share it should be equal."""
        setting = (self.row, self.dataset, self.head, self.protocol, self.num_crops)
        return (*setting, self.quantity, round(255 * self.epsilon))


@dataclass(frozen=True, kw_only=True)
class Model:
    """A model of the paper, with what the paper says of its training as keys of our configs."""

    name: str
    label: str
    setting: Mapping[str, Any]

    def matches(self, config: Mapping[str, Any]) -> bool:
        """Whether a pretraining config agrees with everything that the paper says."""
        wanted = {"backbone.name": PAPER_BACKBONE, **self.setting}
        adversary = config.get("adversary") or {}
        if adversary.get("norm", PAPER_NORM) != PAPER_NORM:
            return False
        if adversary.get("epsilon"):
            wanted["adversary.epsilon"] = 8 / 255
        return all(_agrees(_value(config, key), value) for key, value in wanted.items())


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table of the paper."""

    name: str
    title: str
    attack: str
    epsilons: tuple[float, ...]
    """Radii as fractions of the pixel range; the first is 0, clean accuracy."""
    figures: tuple[Figure, ...]


def figures(**wanted: Any) -> list[Figure]:
    """The figures whose fields have the given values, for instance ``figures(row="cfamc_m3")``.

    ``epsilon`` is a fraction of the pixel range, compared up to rounding.
    """
    epsilon = wanted.pop("epsilon", None)
    return [
        figure
        for table in TABLES.values()
        for figure in table.figures
        if all(getattr(figure, name) == value for name, value in wanted.items())
        and (epsilon is None or abs(figure.epsilon - epsilon) < EPSILON_TOLERANCE)
    ]


def model_of(config: Mapping[str, Any]) -> str | None:
    """The paper's model that a complete pretraining config trains; None if it trains another."""
    return next((name for name, model in MODELS.items() if model.matches(config)), None)


def _value(config: Mapping[str, Any], key: str) -> Any:
    if key == "geometry":
        scale = (config.get("crops") or {}).get("scale")
        return None if scale is None else "patch" if scale[0] == scale[1] else "crop"
    found: Any = config
    for part in key.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found


def _agrees(value: Any, wanted: Any) -> bool:
    if isinstance(wanted, float):
        return value is not None and abs(as_fraction("epsilon", value) - wanted) < EPSILON_TOLERANCE
    return bool(value == wanted)


def _load() -> tuple[dict[str, Model], dict[str, Table]]:
    text = (resources.files("solo_adv.paper") / "tables.yaml").read_text(encoding="utf-8")
    content: Any = OmegaConf.to_container(OmegaConf.create(text))
    models = {name: Model(name=name, **held) for name, held in content["models"].items()}
    marks = _marks(content["marks"], {name: t["head"] for name, t in content["tables"].items()})
    tables = {}
    for name, held in content["tables"].items():
        epsilons = tuple(as_fraction("epsilon", e) if e else 0.0 for e in held["epsilons"])
        found = tuple(_figures(name, held, epsilons, marks))
        tables[name] = Table(
            name=name,
            title=held["title"],
            attack=held["attack"],
            epsilons=epsilons,
            figures=found,
        )
    if marks:
        raise ValueError(f"Marks on cells that no table has: {sorted(marks, key=str)}")
    return models, tables


def _figures(
    table: str, held: dict[str, Any], epsilons: tuple[float, ...], marks: dict[Any, Mark]
) -> Iterator[Figure]:
    """The figures of a table, row by row; their marks are removed from ``marks``."""
    for line in held["rows"]:
        crops, head = line.get("num_crops"), line.get("head", held["head"])
        row = (table, line["row"], head, crops)
        place: dict[str, Any] = {
            "table": table,
            "row": line["row"],
            "head": head,
            "protocol": "central" if crops is None else "crops",
            "num_crops": crops,
        }
        for dataset in DATASETS:
            if dataset not in line:
                continue
            texts = [str(epsilon) for epsilon in held["epsilons"]]
            for epsilon, text, value in zip(epsilons, texts, line[dataset], strict=True):
                yield Figure(
                    **place,
                    dataset=dataset,
                    quantity=held["attack"] if epsilon else "clean",
                    epsilon=epsilon,
                    value=float(value),
                    mark=marks.pop((*row, dataset, text), None),
                )
        if "minutes" in line:
            yield Figure(
                **place,
                dataset=None,
                quantity="minutes",
                epsilon=0.0,
                value=float(line["minutes"]),
                mark=marks.pop((*row, None, "minutes"), None),
            )


def _marks(held: dict[str, Any], heads: dict[str, str]) -> dict[Any, Mark]:
    """Marks by cell: table, row, head, number of crops, data set, epsilon."""
    return {
        (
            table,
            cell["row"],
            cell.get("head", heads[table]),
            cell.get("num_crops"),
            cell.get("dataset"),
            str(cell["at"]),
        ): Mark(kind=kind, reason=group["reason"])
        for kind, group in held.items()
        for cell in group["cells"]
        for table in cell["tables"]
    }


MODELS, TABLES = _load()
