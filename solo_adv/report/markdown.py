"""Writes a report as a Markdown page that fits on one screen."""

from solo_adv.report.corruptions import corruption_table
from solo_adv.report.measured import as_measured
from solo_adv.report.record import Report
from solo_adv.report.uncertainty import in_words
from solo_adv.report.words import data_words, head_words


def page(report: Report) -> str:
    """A table of accuracies in percent with 95 % intervals, and the settings below."""
    parts = [
        f"# {report.method} on {data_words(report.data)}: {head_words(report.config)}",
        *(f"> **ALARM** {alarm}" for alarm in report.alarms),
        _table(report),
        *filter(None, map(corruption_table, report.measurements)),
        *(f"- Note on {m.label}: {note}" for m in report.measurements for note in m.notes),
        _settings(report),
        "![Accuracy against epsilon, and example images](report.png)",
    ]
    return "\n\n".join(parts) + "\n"


def _table(report: Report) -> str:
    lines = ["| | accuracy, % | 95 % interval |", "|---|---:|---:|"]
    for m in report.measurements:
        lines.append(f"| {m.label} | {100 * m.accuracy:.2f} | {in_words(m.interval)} |")
    classes = report.data["classes"]
    return "\n".join([*lines, f"| chance ({classes} classes) | {100 / classes:.2f} | |"])


def _settings(report: Report) -> str:
    lines = as_measured(report)
    lines["Checkpoint"] = f"`{lines['Checkpoint']}`"
    return "\n".join(f"- {name}: {text}" for name, text in lines.items())
