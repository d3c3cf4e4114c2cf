"""The plots of pages."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from solo_adv.adversaries import NORMS
from solo_adv.report.html.drawing import Plot, percent_ticks
from solo_adv.report.measurement import CLEAN, Measurement, by_attack
from solo_adv.report.published import FINETUNED, ROBUST, STANDARD
from solo_adv.report.record import Report
from solo_adv.report.uncertainty import in_words

KINDS = ("first", "second", "third", "fourth")
SHAPES = ("circle", "square", "diamond", "circle")
SHAPE_OF = {ROBUST: "circle", STANDARD: "square", FINETUNED: "diamond"}


@dataclass(frozen=True)
class Spot:
    """A point of a trade-off. Accuracies are in percent."""

    clean: float
    robust: float
    judged: str
    """A key of ``SHAPE_OF``."""
    mark: str
    """The letter or number beside the point."""
    words: str
    row: str = ""
    """The row of the page's table that it belongs to; empty if it is printed by others."""


def curves(report: Report) -> list[Markup]:
    """Accuracy against epsilon: a plot for each norm in which the classifier was attacked.

    A plot has a line for each attack, and bars of 95 % intervals.
    """
    found = by_attack(report.attacks)
    norms = dict.fromkeys((report.config["norm"], *(norm for _, norm in found)))
    by_norm = {
        norm: {name: same for (name, of), same in found.items() if of == norm} for norm in norms
    }
    return [_curve(report, norm, attacks) for norm, attacks in by_norm.items() if attacks]


def _curve(report: Report, norm: str, attacks: Mapping[str, Sequence[Measurement]]) -> Markup:
    clean = report.by_label[CLEAN]
    radii = {attack.epsilon: attack.radius for found in attacks.values() for attack in found}
    plot = Plot(
        f"Accuracy against epsilon ({NORMS[norm].name}) under {' and '.join(attacks)}; the table "
        "has the same figures",
        x=(-0.04 * max(radii), 1.08 * max(radii)),
        y=(-6, 104),  # room for the figures beside points at the border
    )
    plot.x_axis({0.0: "0 (clean)", **radii}, NORMS[norm].axis)
    plot.y_axis({float(tick): str(tick) for tick in range(0, 101, 20)}, "correct, %")
    chance = 100 / report.data["classes"]
    plot.line([(0, chance), (max(radii), chance)], "chance")
    for number, found in enumerate(attacks.values()):
        kind, shape = KINDS[number % len(KINDS)], SHAPES[number % len(SHAPES)]
        points = [(m.epsilon, 100 * m.accuracy) for m in (clean, *found)]
        plot.line(points, kind)
        for m, (x, y) in zip((clean, *found), points, strict=True):
            plot.error(x, 100 * m.interval[0], 100 * m.interval[1], kind)
            words = f"{m.label}: {y:.2f} % ({in_words(m.interval)})"
            plot.point(x, y, kind, words, shape=shape)
            if number == 0 or m is not clean:
                plot.note(x, y, f"{y:.1f}", kind, below=number > 0)
    plot.key(
        [
            *(
                (f"under {name}", KINDS[number % len(KINDS)], SHAPES[number % len(SHAPES)])
                for number, name in enumerate(attacks)
            ),
            (f"chance ({chance:.3g} %)", "chance", ""),
        ],
        line=True,
    )
    return plot.svg


def scatter(
    title: str, y_label: str, spots: Sequence[Spot], printed: Sequence[Spot] = ()
) -> Markup:
    """Robust against clean accuracy.

    Args:
        title: what is shown.
        y_label: label of the vertical axis.
        spots: our points, which are filled.
        printed: points that others print, which are hollow.
    """
    points = [*printed, *spots]
    x, x_ticks = percent_ticks([spot.clean for spot in points])
    y, y_ticks = percent_ticks([spot.robust for spot in points])
    plot = Plot(f"Robust against clean accuracy: {title}; the tables have the figures", x=x, y=y)
    plot.x_axis(x_ticks, "correct without attack, %")
    plot.y_axis(y_ticks, y_label)
    for spot in points:
        kind = "first" if spot.row else "printed"
        words = f"{spot.mark}: {spot.words}: {spot.clean:.2f} %, attacked {spot.robust:.2f} %"
        shape = SHAPE_OF[spot.judged]
        with plot.group(spot.row):
            plot.point(spot.clean, spot.robust, kind, words, shape=shape)
            plot.note(spot.clean, spot.robust, spot.mark, kind, below=bool(spot.row))
    return plot.svg
