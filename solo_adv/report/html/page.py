"""The page of one report."""

import json

from solo_adv.report.corruptions import by_severity
from solo_adv.report.examples import Examples
from solo_adv.report.html.by_class import class_table, confusions
from solo_adv.report.html.charts import curves
from solo_adv.report.html.pictures import sheet
from solo_adv.report.html.rendering import render
from solo_adv.report.measured import as_measured
from solo_adv.report.record import Report
from solo_adv.report.repeating import command
from solo_adv.report.verdict import verdict
from solo_adv.report.words import data_words, head_words


def page(report: Report, examples: Examples | None = None) -> str:
    """The report as HTML, with everything in one file.

    Args:
        report: the report.
        examples: attacked images to show; None shows none.
    """
    return render(
        "report.html",
        report=report,
        title=f"{report.method} on {data_words(report.data)}: {head_words(report.config)}",
        verdict=verdict(report),
        notes=[(m.label, note) for m in report.measurements for note in m.notes],
        broken_by=[m for m in report.attacks if m.details],
        curves=curves(report),
        class_table=class_table(report),
        confusions=confusions(report),
        corruptions=[
            (m.label, rows) for m in report.measurements if (rows := by_severity(m)) is not None
        ],
        sheet=None if examples is None else sheet(examples),
        in_crops=report.config["protocol"] == "crops" and report.config["space"] == "crop",
        measured=as_measured(report),
        command=command(report),
        config=_pretty(report.to_dict()["config"]),
        pretrain_config=_pretty(report.to_dict()["pretrain_config"]),
    )


def _pretty(config: object) -> str:
    return json.dumps(config, indent=2)
