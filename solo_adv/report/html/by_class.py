"""The tables of a page that show each class by itself: accuracies, and what is seen as what."""

from collections.abc import Iterable
from dataclasses import dataclass

from solo_adv.report.classes import NONE, Classes
from solo_adv.report.measurement import CLEAN, Measurement
from solo_adv.report.record import Report
from solo_adv.report.verdict import strongest

MOST_ROWS = 20
"""How many classes the table shows."""
MOST_COLUMNS = 12
"""With more classes than this, the commonest mistakes are listed instead of a matrix."""
MOST_MISTAKES = 12
"""How many of them."""


@dataclass(frozen=True)
class ClassTable:
    """The accuracy on each class under each measurement that counts classes, the worst first."""

    labels: list[str]
    rows: list[tuple[str, int, list[float | None]]]
    """Name, number of images, and accuracies as fractions; None without images."""
    left_out: int
    """How many classes with higher accuracies are left out."""
    by: str
    """The label of the measurement that orders them."""


@dataclass(frozen=True)
class Confusion:
    """What the images of each class are seen as under one measurement."""

    label: str
    columns: list[str]
    """The names of the classes, in the order of the columns; empty if there is no matrix."""
    matrix: list[tuple[str, list[float]]]
    """For each true class its name and the shares of its images, as fractions."""
    commonest: list[tuple[str, str, int, float]]
    """If there is no matrix: true class, class seen, number, and share of the true class."""


def class_table(report: Report) -> ClassTable | None:
    """The table; None if no measurement counts classes."""
    counted = {m.label: m.classes for m in report.measurements if m.classes is not None}
    if not counted:
        return None
    robust = strongest(report)
    by = robust.label if robust is not None and robust.label in counted else next(iter(counted))
    accuracies = {label: classes.accuracies for label, classes in counted.items()}
    total = counted[by].total
    order = sorted(
        (number for number, images in enumerate(total) if images),
        key=lambda number: accuracies[by][number] or 0.0,
    )
    rows = [
        (_name(report, number), total[number], [found[number] for found in accuracies.values()])
        for number in order
    ]
    return ClassTable(list(counted), rows[:MOST_ROWS], max(0, len(rows) - MOST_ROWS), by)


def confusions(report: Report) -> list[Confusion]:
    """What is seen as what without attack and under the strongest attack that tells it."""
    telling = [m for m in report.measurements if m.classes is not None and m.classes.mistakes]
    clean = [m for m in telling if m.name == CLEAN]
    attacked = strongest(report, among=telling)
    return [_confusion(report, m) for m in (*clean, *([attacked] if attacked else []))]


def _confusion(report: Report, measurement: Measurement) -> Confusion:
    classes = measurement.classes
    assert classes is not None
    if len(classes.total) > MOST_COLUMNS or not classes.complete:
        return Confusion(measurement.label, [], [], list(_commonest(report, classes)))
    count = len(classes.total)
    seen = [[0] * (count + 1) for _ in range(count)]
    for number, right in enumerate(classes.correct):
        seen[number][number] = right
    for truth, other, images in classes.confused():
        seen[truth][count if other is None else other] += images
    names = [_name(report, number) for number in range(count)]
    if not any(row[count] for row in seen):
        seen = [row[:count] for row in seen]
    else:
        names.append(NONE)
    matrix = [
        (names[number], [images / total for images in row])
        for number, (row, total) in enumerate(zip(seen, classes.total, strict=True))
        if total
    ]
    return Confusion(measurement.label, names, matrix, [])


def _commonest(report: Report, classes: Classes) -> Iterable[tuple[str, str, int, float]]:
    for truth, seen, images in classes.confused()[:MOST_MISTAKES]:
        name = NONE if seen is None else _name(report, seen)
        yield _name(report, truth), name, images, images / classes.total[truth]


def _name(report: Report, number: int) -> str:
    names = report.data.get("class_names") or []
    return names[number] if number < len(names) else f"class {number}"
