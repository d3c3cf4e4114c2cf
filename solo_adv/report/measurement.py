"""A measurement: one accuracy, the number of images, and the settings it was measured with."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from solo_adv.report.classes import Classes
from solo_adv.report.uncertainty import standard_error, wilson

if TYPE_CHECKING:
    from solo_adv.adversaries import Ball

CLEAN = "clean"
TOP5 = "clean, top-5"
KNN = "kNN"
AUTOATTACK = "AutoAttack"
CORRUPTIONS = "corruptions"


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """How many of ``total`` test images were classified correctly, and with which settings.

    Raises:
        ValueError: the counts are not those of an accuracy.
    """

    name: str
    """What was measured: ``clean``, ``kNN``, ``PGD-20`` and so on."""
    correct: int
    total: int
    """How many images were judged. If each was judged several times, ``settings["times"]`` says how
    often, and every time counts here."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """How it was measured. An attack has the ``norm`` (``linf`` if there is none) and ``epsilon``
    of its ball, and every other setting that makes it weaker or stronger. ``times`` says how often
    each image was judged if that is more than once. ``variant`` is a part of the label, for
    measurements of one name that must not be compared with each other."""
    notes: tuple[str, ...] = ()
    """Remarks that a reader of the figure must know."""
    details: Mapping[str, int] = field(default_factory=dict)
    """Further counts of images. For an ensemble of attacks: how many images each attack broke that
    the attacks before it had left. For corruptions: how many images were correct under each, at
    each severity."""
    seconds: float = 0.0
    """How long it took, without interruptions."""
    classes: Classes | None = None
    """The counts by class, where they are known."""

    def __post_init__(self) -> None:
        if not 0 <= self.correct <= self.total or self.total == 0:
            raise ValueError(f"{self.name}: {self.correct} of {self.total} images is no accuracy")

    @classmethod
    def from_dict(cls, held: Mapping[str, Any]) -> "Measurement":
        """Read a measurement from a report or from the zoo's index."""
        classes = held.get("classes")
        return cls(
            **{
                **held,
                "notes": tuple(held.get("notes", ())),
                "classes": None if classes is None else Classes.from_dict(classes),
            }
        )

    def to_dict(self) -> dict[str, Any]:
        """The measurement for a report. Counts by class that are not known are left out."""
        held = asdict(self)
        return (
            held if self.classes is not None else {k: v for k, v in held.items() if k != "classes"}
        )

    @property
    def figure(self) -> "Measurement":
        """The measurement without notes, details, duration and classes, for comparisons."""
        return replace(self, notes=(), details={}, seconds=0.0, classes=None)

    @property
    def accuracy(self) -> float:
        """The accuracy as a fraction in [0, 1]."""
        return self.correct / self.total

    @property
    def images(self) -> int:
        """How many different images were judged."""
        return self.total // int(self.settings.get("times", 1))

    @property
    def standard_error(self) -> float:
        """The binomial standard error of :attr:`accuracy`, as a fraction.

        Verdicts on one image are not independent, so only different images count. If each was
        judged several times, this is an upper bound.
        """
        return standard_error(self.accuracy, self.images)

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of :attr:`accuracy` by Wilson, of different images, as fractions."""
        return wilson(self.accuracy, self.images)

    @property
    def ball(self) -> "Ball | None":
        """The ball of perturbations that the attack was allowed; None if nothing attacked."""
        if "epsilon" not in self.settings:
            return None
        from solo_adv.adversaries import Ball  # noqa: PLC0415  it imports torch

        return Ball(self.settings.get("norm", "linf"), self.settings["epsilon"])

    @property
    def epsilon(self) -> float:
        """The radius of :attr:`ball`; 0 if nothing attacked."""
        return self.settings.get("epsilon", 0.0)

    @property
    def radius(self) -> str:
        """The radius of :attr:`ball` as text, such as ``8/255``; empty if nothing attacked."""
        return "" if self.ball is None else self.ball.text

    @property
    def title(self) -> str:
        """Name and variant, such as ``PGD-20 (margin)``."""
        variant = self.settings.get("variant")
        return self.name if variant is None else f"{self.name} ({variant})"

    @property
    def label(self) -> str:
        """Name, variant and radius, such as ``PGD-20 at 8/255``; unique within a report."""
        return f"{self.title} at {self.radius}" if self.radius else self.title


def by_label(measurements: Iterable[Measurement]) -> dict[str, Measurement]:
    """The measurements under their labels, in their order."""
    return {measurement.label: measurement for measurement in measurements}


def under_attack(measurements: Iterable[Measurement]) -> list[Measurement]:
    """The measurements of attacks, in their order."""
    return [measurement for measurement in measurements if measurement.ball is not None]


def by_attack(measurements: Iterable[Measurement]) -> dict[tuple[str, str], list[Measurement]]:
    """The measurements of each attack by its title and norm, sorted by increasing radius."""
    found: dict[tuple[str, str], list[Measurement]] = {}
    for measurement in measurements:
        if measurement.ball is not None:
            found.setdefault((measurement.title, measurement.ball.norm), []).append(measurement)
    return {attack: sorted(same, key=lambda m: m.epsilon) for attack, same in found.items()}
