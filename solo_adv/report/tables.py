"""The merged table: for the terminal, as Markdown, and as plain values."""

from collections.abc import Iterable
from typing import Any

from rich.markup import escape
from rich.table import Table

from solo_adv.report.entries import Entry, Measurement


def columns(entries: Iterable[Entry]) -> list[tuple[str | None, float, str]]:
    """Attack, epsilon and heading of every measurement that any of the entries has, in order."""
    found = {
        (m.attack, round(m.epsilon, 6)): (m.attack, m.epsilon, m.name)
        for entry in entries
        for m in entry.measurements
    }
    return sorted(
        found.values(), key=lambda c: (c[0] is not None, c[0] == "AutoAttack", c[0] or "", c[1])
    )


def screen(entries: list[Entry]) -> Table:
    """The table for the terminal; the paper's figure stands below ours, red if marked."""
    title = "Accuracy, %; below it the paper's († cannot be right, see merged.md)"
    table = Table(title=title, show_lines=True)
    table.add_column("model", overflow="fold")
    table.add_column("evaluation")
    shown = columns(entries)
    for _, _, name in shown:
        table.add_column(name.replace(" ", "\n").replace("AutoAttack", "AA"), justify="right")
    for entry in entries:
        title = f"{escape(entry.model)}\n[dim]{escape(entry.dataset)}, {escape(entry.settings)}[/]"
        if entry.alarms:
            title += "\n[red]ALARM[/]"
        cells = []
        for attack, epsilon, _ in shown:
            found = entry.accuracy(attack, epsilon)
            text = "" if found is None else f"{found.accuracy:.2f}"
            if found is not None and found.paper:
                text += "\n" + " / ".join(
                    f"[red]{f.value:.2f}†[/]" if f.mark else f"[dim]{f.value:.2f}[/]"
                    for f in found.paper
                )
            cells.append(text)
        table.add_row(title, f"{entry.evaluation}\n[dim]{entry.num_images:,} images[/]", *cells)
    return table


def markdown(entries: list[Entry], picture: bool) -> str:
    """The merged table as Markdown: ours, and the paper's in brackets."""
    shown = columns(entries)
    heads = ["model", "data", "training", "evaluation", "images", *(name for _, _, name in shown)]
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
        cells = []
        for attack, epsilon, _ in shown:
            found = entry.accuracy(attack, epsilon)
            cells.append("" if found is None else _cell(found, letters))
        model = f"[{entry.model}]({entry.file.as_posix()})"
        first = [model, entry.dataset, entry.settings, entry.evaluation, f"{entry.num_images:,}"]
        lines.append(f"| {' | '.join([*first, *cells])} |")
    lines += [""] + [f"- {letter}: {reason}" for reason, letter in letters.items()]
    lines += [
        f"- **ALARM** {entry.model}, {entry.evaluation}: {alarm}"
        for entry in entries
        for alarm in entry.alarms
    ]
    if picture:
        lines += ["", "![Robust against clean accuracy](merged.png)"]
    return "\n".join(lines) + "\n"


def _cell(found: Measurement, letters: dict[str, str]) -> str:
    texts = []
    for figure in found.paper:
        text = f"{figure.value:.2f}"
        if figure.mark is not None:
            letter = letters.setdefault(figure.mark.reason, chr(ord("a") + len(letters)))
            text += f" {letter}"
        texts.append(text)
    return f"{found.accuracy:.2f}" + (f" ({' / '.join(texts)})" if texts else "")


def to_dict(entries: list[Entry]) -> dict[str, Any]:
    """The merged table in plain values; every row names the report it is from."""
    return {
        "reports": [
            {
                "file": str(entry.file),
                "checkpoint": entry.checkpoint,
                "model": entry.model,
                "method": entry.method,
                "paper_row": entry.row,
                "training": entry.settings,
                "dataset": entry.dataset,
                "linear": entry.head,
                "protocol": entry.protocol,
                "num_crops": entry.num_crops,
                "space": entry.space,
                "features": entry.features,
                "finetune": entry.finetune,
                "num_images": entry.num_images,
                "crop_passes": entry.crop_passes,
                "alarms": list(entry.alarms),
                "accuracies": [
                    {
                        "attack": m.attack,
                        "epsilon": m.epsilon,
                        "percent": round(m.accuracy, 6),
                        "paper": [
                            {
                                "table": f.table,
                                "percent": f.value,
                                "mark": f.mark.kind if f.mark else None,
                            }
                            for f in m.paper
                        ],
                    }
                    for m in entry.measurements
                ],
            }
            for entry in entries
        ]
    }
