"""Draws a report: accuracy against epsilon, and images with their perturbations."""

import io
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure, SubFigure
from torch import Tensor

from solo_adv.adversaries import NORMS
from solo_adv.report.examples import Examples
from solo_adv.report.measurement import CLEAN, by_attack
from solo_adv.report.record import Report
from solo_adv.report.words import data_words, head_words

RIGHT, WRONG = "#1a7f37", "#cf222e"
NAME_LENGTH = 11
COLUMNS = 6
"""How many of the examples the picture shows."""


def draw(report: Report, examples: Examples | None = None) -> bytes:
    """Draw a report as PNG: the curve of accuracy and, if they are given, the examples."""
    wide = examples is not None
    figure = Figure(figsize=(15, 5.6) if wide else (6.5, 5.6), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    if examples is None:
        _curve(figure.add_subplot(), report)
    else:
        halves: Any = figure.subfigures(1, 2, width_ratios=[1, 1.35], wspace=0.03)
        _curve(halves[0].add_subplot(), report)
        in_crops = report.config["protocol"] == "crops" and report.config["space"] == "crop"
        what = "First crops of test images" if in_crops else "Test images"
        _sheet(halves[1], examples.first(COLUMNS), what)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def _curve(axes: Axes, report: Report) -> None:
    clean = report.by_label[CLEAN]
    norm = report.config["norm"]  # the axis has lengths in one norm
    shown = [a for a in report.attacks if a.ball is not None and a.ball.norm == norm]
    for number, ((name, _), attacks) in enumerate(by_attack(shown).items()):
        points = [clean, *attacks]
        x = [255 * point.epsilon for point in points]
        y = [100 * point.accuracy for point in points]
        intervals = [point.interval for point in points]
        below = [100 * (p.accuracy - low) for p, (low, _) in zip(points, intervals, strict=True)]
        above = [100 * (high - p.accuracy) for p, (_, high) in zip(points, intervals, strict=True)]
        style = "-" if number == 0 else ":"  # curves of two attacks can lie on each other
        axes.errorbar(
            x,
            y,
            yerr=(below, above),
            marker="o",
            capsize=4,
            linewidth=2,
            linestyle=style,
            label=f"under {name}",
        )
        for place, height in zip(x[number > 0 :], y[number > 0 :], strict=True):
            # The first attack's figures stand above its curve, those of stronger attacks below.
            offset = (7, 5) if number == 0 else (-7, -13)
            axes.annotate(
                f"{height:.1f}",
                (place, height),
                offset,
                textcoords="offset points",
                ha="left" if number == 0 else "right",
            )
    chance = 100 / report.data["classes"]
    label = f"chance ({chance:.3g} %)"
    axes.axhline(chance, linestyle="--", color="grey", linewidth=1.2, label=label)
    radii = {255 * attack.epsilon: attack.radius for attack in shown}
    axes.set_xticks([0, *radii], ["0\n(clean)", *radii.values()])
    axes.margins(x=0.1)
    axes.set_ylim(-7, 106)
    axes.set_yticks(range(0, 101, 20))
    axes.set_xlabel(NORMS[norm].axis)
    axes.set_ylabel("correctly classified test images, %")
    axes.grid(alpha=0.3)
    axes.legend(loc="best")
    alarm = "ALARM: these figures cannot be right, see report.md\n" if report.alarms else ""
    axes.set_title(
        f"{alarm}{report.method}, {head_words(report.config)}, {data_words(report.data)}\n"
        f"{report.num_images:,} test images; bars: 95 % intervals",
        fontsize=11,
        color=WRONG if report.alarms else "black",
    )


def _sheet(figure: SubFigure, examples: Examples, what: str) -> None:
    change = examples.attacked - examples.clean
    magnification = examples.ball.magnification(change)
    figure.suptitle(
        f"{what} drawn at random, attacked at epsilon = {examples.ball.text}\n"
        "(green: classified correctly, red: wrongly)",
        fontsize=11,
    )
    rows = (
        ("original", examples.clean),
        (
            f"change, {magnification:.3g} times\n(grey: no change)",
            0.5 + change * magnification,
        ),
        ("attacked", examples.attacked),
    )
    grid = figure.subplots(len(rows), len(examples.truth), squeeze=False)
    for line, (title, pictures) in zip(grid, rows, strict=True):
        for axes, picture in zip(line, pictures, strict=True):
            axes.imshow(_as_image(picture), interpolation="nearest")
            axes.set_xticks([])
            axes.set_yticks([])
        line[0].set_ylabel(title, fontsize=10)
    for number, truth in enumerate(examples.truth):
        _verdict(grid[0, number], examples.before[number], truth, f"is: {_short(truth)}\n")
        _verdict(grid[2, number], examples.after[number], truth, "")


def _verdict(axes: Axes, predicted: str, truth: str, above: str) -> None:
    colour = RIGHT if predicted == truth else WRONG
    axes.set_title(f"{above}seen as: {_short(predicted)}", fontsize=8.5, color=colour)


def _as_image(picture: Tensor) -> np.ndarray:
    image: np.ndarray = picture.clamp(0, 1).permute(1, 2, 0).numpy()
    return image


def _short(name: str) -> str:
    name = name.split(",", maxsplit=1)[0]
    return name if len(name) <= NAME_LENGTH else name[: NAME_LENGTH - 1] + "…"
