"""The result of the benchmark: for each protocol what was measured, and where its report lies."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from solo_adv.adversaries import AUTO, Ball
from solo_adv.report.measurement import AUTOATTACK, CLEAN, CORRUPTIONS, KNN, Measurement
from solo_adv.report.record import Report, plain_values
from solo_adv.report.uncertainty import in_words, wilson
from solo_adv.support.files import write_files

FORMAT = 1
FIGURES = ("SA", "RA", "CA", "PGD-20", "kNN")
NAMES = {
    "slf": "SLF (linear head, clean)",
    "alf": "ALF (linear head, attacked)",
    "aff": "AFF (fine-tuned, attacked)",
}


@dataclass(frozen=True)
class Judged:
    """A protocol's result.

    Attributes:
        report: path of the report, relative to the benchmark's directory.
        figures: accuracies as fractions: ``SA`` without attack, ``RA`` under AutoAttack and
            ``PGD-20`` under PGD at the usual radius, ``CA`` on common corruptions, ``kNN`` of the
            encoder before any training. What was not measured is absent.
        errors: their standard errors.
        images: number of test images.
        others: accuracies under further attacks, such as those in other norms, by their labels.
        alarms: reasons not to trust the figures.
        notes: remarks that a reader must know.
    """

    report: str
    figures: Mapping[str, float]
    errors: Mapping[str, float]
    images: int
    others: Mapping[str, float] = field(default_factory=dict)
    alarms: Sequence[str] = ()
    notes: Sequence[str] = ()


@dataclass(kw_only=True)
class Benchmark:
    """The contents of ``benchmark.json``."""

    method: str
    checkpoint: str
    recipe: str
    norm: str
    data: str
    crop_passes: int | None
    asked: Sequence[str]
    """The protocols that were asked for."""
    transfer: str = ""
    """On what the encoder was pretrained, and on what it was judged, if on something else."""
    protocols: dict[str, Judged] = field(default_factory=dict)
    """The protocols that are done."""

    @property
    def missing(self) -> list[str]:
        """The protocols that were asked for and are not done."""
        return [name for name in self.asked if name not in self.protocols]


def judged(report: Report, place: str) -> Judged:
    """Take a protocol's figures from its report, which lies at ``place``."""
    usual = Ball(report.config["norm"], AUTO)
    found = {
        figure: measurement
        for measurement in report.measurements
        if (figure := _figure(measurement, usual)) is not None
    }
    notes = [f"{m.label}: {note}" for m in report.measurements for note in m.notes]
    if "CA" in found:
        notes.insert(0, f"CA is the accuracy on {found['CA'].label}.")
    return Judged(
        report=place,
        figures={name: m.accuracy for name, m in found.items()},
        errors={name: m.standard_error for name, m in found.items()},
        images=report.num_images,
        others={m.label: m.accuracy for m in report.attacks if m not in found.values()},
        alarms=tuple(report.alarms),
        notes=tuple(notes),
    )


def _figure(measurement: Measurement, usual: Ball) -> str | None:
    """The benchmark's name of a measurement; None if it is none of its figures."""
    if measurement.ball is None:
        return {CLEAN: "SA", KNN: "kNN", CORRUPTIONS: "CA"}.get(measurement.name)
    if measurement.ball != usual:
        return None
    return {AUTOATTACK: "RA", "PGD-20": "PGD-20"}.get(measurement.title)


def page(benchmark: Benchmark) -> str:
    """The benchmark in Markdown. Accuracies are in percent."""
    radius = Ball(benchmark.norm, AUTO).text
    cells = [f"RA is under AutoAttack and PGD-20 at {radius}", "SA without attack"]
    cells.append("CA on common corruptions")
    lines = [
        f"# {benchmark.method}, {benchmark.data}, recipe {benchmark.recipe}",
        "",
        f"| protocol | {' | '.join(FIGURES)} | test images |",
        f"|---|{'---:|' * (len(FIGURES) + 1)}",
    ]
    for name in benchmark.asked:
        done = benchmark.protocols.get(name)
        row = ["not done yet"] * len(FIGURES) + [""]
        if done is not None:
            row = [_cell(done, figure) for figure in FIGURES] + [f"{done.images:,}"]
        lines.append(f"| {NAMES[name]} | {' | '.join(row)} |")
    lines += ["", f"In percent, with 95 % intervals. {'; '.join(cells)}; a dash was not measured."]
    for name, done in benchmark.protocols.items():
        lines += [f"- {label} ({name}): {100 * value:.2f}" for label, value in done.others.items()]
        lines += [f"- **Alarm** ({name}): {alarm}" for alarm in done.alarms]
        lines += [f"- Note ({name}): {note}" for note in done.notes]
    passes = "unknown" if benchmark.crop_passes is None else f"{benchmark.crop_passes:,}"
    lines += ["", f"- Checkpoint: `{benchmark.checkpoint}`", f"- Pretraining: {passes} crop passes"]
    if benchmark.transfer:
        lines.append(f"- Transfer: {benchmark.transfer}")
    lines += [
        f"- {name}: [{done.report}]({done.report})" for name, done in benchmark.protocols.items()
    ]
    return "\n".join(lines) + "\n"


def _cell(done: Judged, figure: str) -> str:
    if figure not in done.figures:
        return "-"
    accuracy = done.figures[figure]
    return f"{100 * accuracy:.2f} ({in_words(wilson(accuracy, done.images))})"


def write(benchmark: Benchmark, directory: Path) -> dict[str, Path]:
    """Write ``benchmark.json`` and ``benchmark.md`` into ``directory``; return their paths."""
    held = {"format": FORMAT, **asdict(benchmark), "missing": benchmark.missing}
    paths = {"md": directory / "benchmark.md", "json": directory / "benchmark.json"}
    files = {
        paths["md"]: page(benchmark),
        paths["json"]: json.dumps(plain_values(held), indent=2) + "\n",
    }
    write_files(files, "the benchmark", remedy="Choose another results_dir.")
    return paths
