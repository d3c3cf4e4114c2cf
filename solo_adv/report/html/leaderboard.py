"""The page that ranks many reports, beside what others print."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from markupsafe import Markup

from solo_adv.report.entries import Entry
from solo_adv.report.html.charts import Spot, scatter
from solo_adv.report.html.rendering import render
from solo_adv.report.measurement import AUTOATTACK, CLEAN
from solo_adv.report.published import RADIUS, Published, judged, published
from solo_adv.report.tables import columns
from solo_adv.report.words import letter_of

ATTACKS = ("PGD-20", AUTOATTACK)
"""The attacks under which the plots show accuracy."""


@dataclass(frozen=True)
class Row:
    """A report in the table."""

    number: int
    letter: str
    """The letter of its model in the plots."""
    entry: Entry
    link: str | None
    """Where its own page lies, relative to this one; None if it has none."""


@dataclass(frozen=True)
class Panel:
    """A plot, and the printed points in it under their numbers from 1."""

    title: str
    plot: Markup
    printed: list[Published]


def leaderboard(entries: Sequence[Entry], folder: Path) -> str:
    """A table of reports that can be sorted and filtered, and plots of the trade-off, as HTML.

    Args:
        entries: the reports.
        folder: where the page will lie. Links to the reports' own pages are relative to it.
    """
    models = list(dict.fromkeys((e.model, e.training) for e in entries))
    rows = [
        Row(
            number,
            letter_of(models.index((entry.model, entry.training))),
            entry,
            _link(entry.file.with_suffix(".html"), folder),
        )
        for number, entry in enumerate(entries)
    ]
    return render(
        "leaderboard.html",
        title=f"{len(rows)} reports" if len(rows) != 1 else "1 report",
        rows=rows,
        labels=columns(entries),
        panels=_panels(rows),
    )


def _link(page: Path, folder: Path) -> str | None:
    if not page.exists():
        return None
    place = os.path.relpath(page, folder.resolve()).replace(os.sep, "/")
    return quote(place, errors="surrogateescape")


def _panels(rows: Sequence[Row]) -> list[Panel]:
    panels = []
    for dataset in dict.fromkeys(row.entry.judged_on for row in rows):
        for attack in ATTACKS:
            label = f"{attack} at {RADIUS}"
            own = [
                row
                for row in rows
                if row.entry.judged_on == dataset and label in row.entry.by_label
            ]
            if own:
                panels.append(_panel(own, dataset, attack, label))
    return panels


def _panel(rows: Sequence[Row], dataset: str, attack: str, label: str) -> Panel:
    kinds = list(dict.fromkeys(judged(row.entry) for row in rows))
    printed = published(dataset, attack, kinds)
    spots = [
        Spot(
            100 * row.entry.by_label[CLEAN].accuracy,
            100 * row.entry.by_label[label].accuracy,
            judged(row.entry),
            row.letter,
            f"{row.entry.model}, {row.entry.evaluation}",
            str(row.number),
        )
        for row in rows
    ]
    others = [
        Spot(p.clean, p.robust, p.judged, str(number), f"{p.model}, {p.source}")
        for number, p in enumerate(printed, 1)
    ]
    title = f"{dataset}, {label}"
    return Panel(title, scatter(title, f"correct under {label}, %", spots, others), printed)
