"""Formats the merged table for the terminal, as Markdown, and as plain values."""

from collections.abc import Iterable
from typing import Any

from rich.markup import escape
from rich.table import Table

from solo_adv.adversaries import NORMS
from solo_adv.paper import Figure
from solo_adv.report.entries import Entry
from solo_adv.report.measurement import AUTOATTACK, Measurement


def columns(entries: Iterable[Entry]) -> list[str]:
    """The labels of all measurements: those without attack first, then by attack and radius."""
    found = {m.label: m for entry in entries for m in entry.report.measurements}
    return sorted(found, key=lambda label: _place(found[label]))


def _place(measurement: Measurement) -> tuple[Any, ...]:
    if measurement.ball is None:  # equal keys keep the order of the report
        return (0,)
    norm = list(NORMS).index(measurement.ball.norm)
    return (1, measurement.name == AUTOATTACK, measurement.title, norm, measurement.epsilon)


def screen(entries: list[Entry]) -> Table:
    """The table for the terminal. The paper's figure stands below ours, in red if it is marked."""
    title = "Accuracy, %; below it the paper's († cannot be right, see merged.md)"
    table = Table(title=title, show_lines=True)
    table.add_column("model")
    table.add_column("evaluation")
    shown = columns(entries)
    for label in shown:
        heading = label.replace(" at ", "\n").replace(AUTOATTACK, "AA").replace(", ", "\n")
        table.add_column(heading, justify="right")
    for entry in entries:
        title = f"{escape(entry.model)}\n[dim]{escape(entry.dataset)}, {escape(entry.training)}[/]"
        if entry.report.alarms:
            title += "\n[red]ALARM[/]"
        cells = []
        for label in shown:
            text = _percent(entry, label)
            if entry.printed.get(label):
                text += "\n" + " / ".join(
                    f"[red]{f.value:.2f}†[/]" if f.mark else f"[dim]{f.value:.2f}[/]"
                    for f in entry.printed[label]
                )
            cells.append(text)
        images = f"{entry.report.num_images:,} images"
        table.add_row(title, f"{entry.evaluation}\n[dim]{images}[/]", *cells)
    return table


def markdown(entries: list[Entry], picture: bool) -> str:
    """The merged table as Markdown, with the paper's figures in brackets.

    Args:
        entries: the rows.
        picture: whether there is a picture, to which the page then links.
    """
    shown = columns(entries)
    heads = ["model", "data", "training", "evaluation", "images", *shown]
    lines = [
        "# Merged reports",
        "",
        "Accuracy in percent; in brackets what the paper prints for the same measurement. "
        "A figure of the paper with a letter is not to be trusted, for the reason below.",
        "",
        f"| {' | '.join(heads)} |",
        f"|{'---|' * 4}{'---:|' * (len(heads) - 4)}",
    ]
    letters: dict[str, str] = {}
    for entry in entries:
        model = f"[{entry.model}]({entry.file.as_posix()})"
        cells = [model, entry.dataset, entry.training, entry.evaluation]
        cells.append(f"{entry.report.num_images:,}")
        for label in shown:
            cells.append(_percent(entry, label) + _paper(entry.printed.get(label, ()), letters))
        lines.append(f"| {' | '.join(cells)} |")
    lines += [""] + [f"- {letter}: {reason}" for reason, letter in letters.items()]
    lines += [
        f"- **ALARM** {entry.model}, {entry.evaluation}: {alarm}"
        for entry in entries
        for alarm in entry.report.alarms
    ]
    if picture:
        lines += ["", "![Robust against clean accuracy](merged.png)"]
    return "\n".join(lines) + "\n"


def _percent(entry: Entry, label: str) -> str:
    found = entry.by_label.get(label)
    return "" if found is None else f"{100 * found.accuracy:.2f}"


def _paper(printed: Iterable[Figure], letters: dict[str, str]) -> str:
    """The paper's figures in brackets. The reason of a marked figure is added to ``letters``."""
    texts = []
    for figure in printed:
        text = f"{figure.value:.2f}"
        if figure.mark is not None:
            letter = letters.setdefault(figure.mark.reason, chr(ord("a") + len(letters)))
            text += f" {letter}"
        texts.append(text)
    return f" ({' / '.join(texts)})" if texts else ""


def to_dict(entries: list[Entry]) -> dict[str, Any]:
    """The merged table as plain values. Every row names the report that it comes from."""
    return {
        "reports": [
            {
                "file": str(entry.file),
                "checkpoint": entry.report.checkpoint,
                "model": entry.model,
                "method": entry.report.method,
                "paper_row": entry.row,
                "training": entry.training,
                "dataset": entry.dataset,
                "linear": entry.head,
                "protocol": entry.protocol,
                "num_crops": entry.num_crops,
                "space": entry.report.config["space"],
                "features": entry.report.config["features"],
                "finetune": entry.report.config["finetune"],
                "num_images": entry.report.num_images,
                "crop_passes": entry.report.crop_passes,
                "alarms": list(entry.report.alarms),
                "accuracies": [
                    {
                        "measurement": m.name,
                        "norm": None if m.ball is None else m.ball.norm,
                        "epsilon": m.epsilon,
                        "percent": round(100 * m.accuracy, 6),
                        "paper": [
                            {
                                "table": f.table,
                                "percent": f.value,
                                "mark": f.mark.kind if f.mark else None,
                            }
                            for f in entry.printed[m.label]
                        ],
                    }
                    for m in entry.report.measurements
                ],
            }
            for entry in entries
        ]
    }
