"""Draws the trade-off: robust against clean accuracy, with a point for each model."""

import io
from collections.abc import Sequence

from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.figure import Figure as Picture
from matplotlib.lines import Line2D

from solo_adv.paper import MODELS
from solo_adv.report.entries import Entry
from solo_adv.report.measurement import CLEAN
from solo_adv.report.published import RADIUS, paper_points
from solo_adv.report.words import letter_of

ATTACK = "PGD-20"
ATTACKED = f"{ATTACK} at {RADIUS}"
"""Label of the measurement that is drawn against clean accuracy."""
MARKERS = {"robust": "o", "standard": "s"}
OTHER_MARKER = "D"
GREY = "#8c959f"
_GREYS_OF_TAB20 = (14, 15)
COLOURS = [
    to_hex(colormaps["tab20"](number))
    for number in (*range(0, 20, 2), *range(1, 20, 2))
    if number not in _GREYS_OF_TAB20
]


def draw(entries: Sequence[Entry]) -> bytes | None:
    """Draw a panel for each data set, as PNG; None if no report has PGD-20 at 8/255.

    The paper's models are grey and numbered: those that were judged on the central crop with an
    r-LE head, or with a head that the paper does not state. A thin line joins our point to the
    paper's point of the same model.
    """
    drawn = [entry for entry in entries if ATTACKED in entry.by_label]
    if not drawn:
        return None
    datasets = list(dict.fromkeys(entry.judged_on for entry in drawn))
    heights = [_height(dataset, drawn) for dataset in datasets]
    picture = Picture(figsize=(13, sum(heights)), dpi=110, layout="constrained")
    FigureCanvasAgg(picture)
    grid = picture.subplots(
        len(datasets), 2, width_ratios=[1.6, 1], height_ratios=heights, squeeze=False
    )
    for (axes, key), dataset in zip(grid, datasets, strict=True):
        _panel(axes, key, dataset, [e for e in drawn if e.judged_on == dataset])
    buffer = io.BytesIO()
    picture.savefig(buffer, format="png")
    return buffer.getvalue()


def _height(dataset: str, drawn: Sequence[Entry]) -> float:
    """Height in inches that a panel needs so that its key fits."""
    models = {(e.model, e.training) for e in drawn if e.judged_on == dataset}
    return max(6.0, 1 + 0.2 * (len(models) + len(paper_points(dataset, ATTACK))))


def _panel(axes: Axes, key: Axes, dataset: str, entries: list[Entry]) -> None:
    paper = {
        row: (clean.value, robust.value)
        for row, (clean, robust) in paper_points(dataset, ATTACK).items()
    }
    printed: list[Line2D] = []
    handles: list[Line2D] = []
    for number, (row, (clean, robust)) in enumerate(paper.items(), 1):
        axes.plot(clean, robust, "o", color=GREY, markersize=6, zorder=2)
        axes.annotate(
            str(number), (clean, robust), (4, 4), textcoords="offset points", color=GREY, fontsize=8
        )
        label = f"{number}  {MODELS[row].label} (paper)"
        printed.append(Line2D([], [], marker="o", linestyle="", color=GREY, label=label))
    models = list(dict.fromkeys((e.model, e.training) for e in entries))
    for number, (model, settings) in enumerate(models):
        own = [e for e in entries if (e.model, e.training) == (model, settings)]
        colour = COLOURS[number % len(COLOURS)]
        letter = letter_of(number)
        for entry in own:
            _point(axes, entry, colour, letter, paper)
        label = f"{letter}  {model}: {settings}"
        handles.append(Line2D([], [], marker="o", linestyle="", color=colour, label=label))
    explained = "letters: these reports"
    if paper:
        explained += "; grey numbers: the paper's (r-LE head), joined to ours by a line"
    axes.set_title(f"{dataset}: robust against clean accuracy\n{explained}", fontsize=11)
    axes.set_xlabel("clean accuracy, %")
    axes.set_ylabel(f"accuracy under {ATTACKED}, %")
    axes.grid(alpha=0.3)
    axes.margins(0.08)
    axes.set_ylim(bottom=min(-1.0, axes.get_ylim()[0]))
    axes.legend(handles=_shapes(entries), loc="best", fontsize=9, title="judged with")
    key.axis("off")
    key.legend(
        handles=[*handles, *printed], loc="upper left", fontsize=9, frameon=False, borderaxespad=0
    )


def _point(
    axes: Axes,
    entry: Entry,
    colour: str,
    letter: str,
    paper: dict[str, tuple[float, float]],
) -> None:
    clean, attacked = (entry.by_label[label].accuracy for label in (CLEAN, ATTACKED))
    place = (100 * clean, 100 * attacked)
    filled = entry.protocol == "central"
    axes.plot(
        *place,
        marker=MARKERS.get(entry.head, OTHER_MARKER),
        color=colour,
        markerfacecolor=colour if filled else "white",
        markersize=9,
        zorder=3,
    )
    axes.annotate(
        letter, place, (6, -11), textcoords="offset points", color=colour, fontweight="bold"
    )
    if entry.printed[ATTACKED] and entry.row in paper and entry.head == "robust":
        printed = paper[entry.row]
        axes.plot(*zip(place, printed, strict=True), color=colour, linewidth=0.8, alpha=0.6)


def _shapes(entries: list[Entry]) -> list[Line2D]:
    names = {"robust": "r-LE head", "standard": "standard head"}
    found = []
    for head, protocol in dict.fromkeys((e.head, e.protocol) for e in entries):
        where = "" if protocol == "central" else f", {protocol}"
        found.append(
            Line2D(
                [],
                [],
                marker=MARKERS.get(head, OTHER_MARKER),
                linestyle="",
                color="black",
                markerfacecolor="black" if protocol == "central" else "white",
                label=names.get(head, head) + where,
            )
        )
    return found
