"""A map of features in two dimensions, clean and attacked, as a picture and as a table."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from solo_adv.support.files import write_files

SHOWN_CLASSES = 20
"""A picture of more classes has no legend, because colours would repeat."""


@dataclass(frozen=True, kw_only=True)
class FeatureMap:
    """Where the features of N images lie on a map."""

    clean: Tensor
    """Places of the clean images (N, 2)."""
    attacked: Tensor | None
    """Places of the same images under attack (N, 2); None if nothing attacked."""
    labels: Tensor
    """Classes of the images (N,), -1 where unlabelled."""
    classes: Sequence[str]
    """Names of the classes."""
    title: str
    """What is shown, in words."""
    attack: str = ""
    """The attack, in words."""


def draw_map(shown: FeatureMap) -> bytes:
    """Draw a map as PNG: clean images, and beside them the same ones under attack."""
    from matplotlib import colormaps  # noqa: PLC0415  takes a second
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415
    from matplotlib.figure import Figure  # noqa: PLC0415

    sides = [(shown.clean, "clean")]
    if shown.attacked is not None:
        sides.append((shown.attacked, shown.attack))
    figure = Figure(figsize=(6.2 * len(sides), 6.4), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    palette = colormaps["tab20" if len(shown.classes) > 10 else "tab10"]
    panels = figure.subplots(1, len(sides), sharex=True, sharey=True, squeeze=False)[0]
    named = len(shown.classes) <= SHOWN_CLASSES
    for axes, (places, words) in zip(panels, sides, strict=True):
        for number in sorted(set(shown.labels.tolist())):
            own = places[shown.labels == number]
            color = "grey" if number < 0 else palette(number % palette.N)
            label = shown.classes[number] if number >= 0 and named else None
            axes.scatter(own[:, 0], own[:, 1], s=7, color=color, label=label, linewidths=0)
        axes.set_title(words)
        axes.set_xticks([])
        axes.set_yticks([])
    if named:
        panels[-1].legend(
            loc="center left", bbox_to_anchor=(1, 0.5), markerscale=2.5, frameon=False
        )
    figure.suptitle(shown.title)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def map_table(shown: FeatureMap) -> str:
    """The places as CSV, a row for each image."""
    sides = {
        "clean": shown.clean,
        **({} if shown.attacked is None else {"attacked": shown.attacked}),
    }
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["class", *(f"{side}_{axis}" for side in sides for axis in "xy")])
    for number, label in enumerate(shown.labels.tolist()):
        name = shown.classes[label] if label >= 0 else ""
        places = [f"{value:.5g}" for side in sides.values() for value in side[number].tolist()]
        writer.writerow([name, *places])
    return text.getvalue()


def write_map(shown: FeatureMap, path: Path) -> dict[str, Path]:
    """Write ``PATH.png`` and ``PATH.csv``; return their paths."""
    paths = {kind: path.with_name(f"{path.name}.{kind}") for kind in ("png", "csv")}
    files: dict[Path, str | bytes] = {
        paths["png"]: draw_map(shown),
        paths["csv"]: map_table(shown),
    }
    write_files(files, "the map", remedy="Choose another --output.")
    return paths
