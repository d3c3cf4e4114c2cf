"""The paper's claims beside runs at small scale: ``python -m benchmarks.claims [--from DIR ...]``

``--from`` takes the figures of runs that ``python -m solo_adv.reproduce --scale small --directory
DIR`` made into ``benchmarks/results/small.json``, and their training curves, thinned, into
``benchmarks/results/small/``. ``docs/results.md`` and its picture are then written from these files
and from the paper's tables (``solo_adv.paper``), so no figure in it is typed by hand; its words are
in ``benchmarks/claims.md``.
"""

import argparse
import csv
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from benchmarks.record import RESULTS, store
from solo_adv.paper import figures
from solo_adv.report import FILE, Report
from solo_adv.reproduce.scales import YARDSTICK_ROW
from solo_adv.support.cli import user_errors
from solo_adv.support.errors import UserError
from solo_adv.support.files import write_whole
from solo_adv.support.progress import say

DOCS = Path(__file__).parents[1] / "docs"
TEMPLATE = Path(__file__).with_suffix(".md")
CURVES = "small"
POINTS = 100
"""As many points of a training curve are kept."""
NAME = re.compile(
    r"(?P<row>\w+)-(?P<dataset>cifar\d+)-small-(?P<millions>[\d.]+)M(?P<series>-proportional)?"
    r"(?:-(?P<preset>\w+))?"
)
"""The name of a run at small scale, as ``Job.name`` makes it."""
LOSS = re.compile(r"train_((?!class)\w+_loss)_step")
"""The objective's loss among the columns of ``metrics.csv``; the online classifier has another."""
SURE = 2.0
"""A difference decides a claim if it is larger than so many standard errors."""


@dataclass(frozen=True)
class Side:
    """One side of a comparison: a row of the paper, and how it is judged."""

    row: str
    evaluation: str = "standard"
    preset: str | None = None


@dataclass(frozen=True)
class Claim:
    """A statement of the paper: one side is ahead of the other under some measurement."""

    text: str
    first: Side
    second: Side | None
    """With None, the first side is held against ``limit``, which it must not exceed."""
    label: str
    series: str = "equal"
    """``equal``: every run has the same number of crop passes. ``proportional``: as the paper's."""
    limit: float = 0.0

    @property
    def sides(self) -> list[Side]:
        """The sides that are measured."""
        return [side for side in (self.first, self.second) if side is not None]


def _claims() -> tuple[Claim, ...]:
    cfamc, emp, simclr = Side("cfamc_m3"), Side("robust_emp_crop"), Side("robust_simclr_crop")
    clean, small, usual, large = ("clean", *(f"PGD-20 at {e}/255" for e in (4, 8, 16)))

    def robust(row: str) -> Side:
        return Side(row, "robust")

    many = "Many crops make up for epochs: under PGD-5, 16 crops are ahead of 2"
    geometry = "Crops are ahead of patches of one scale"
    ours = "CF-AMC-SSL is ahead of robust SimCLR at a fraction of its cost"
    free = "CF-AMC-SSL is ahead of robust EMP-SSL at a fraction of its cost"
    head = "A robust head (r-LE) is ahead of a standard one"
    crops = "The mean of 32 crops is ahead of the whole image, without an attack"
    reference = "The defaults are ahead of the reference code's choices (not the paper's claim)"
    plain = Side("emp_ssl")
    return (
        Claim(many, emp, simclr, clean),
        Claim(many, emp, simclr, usual),
        Claim(f"{geometry}: robust EMP-SSL", emp, Side("robust_emp_patch"), usual),
        Claim(f"{geometry}: CF-AMC-SSL", cfamc, Side("cfamc_m3_patch"), usual),
        Claim(ours, cfamc, simclr, clean, "proportional"),
        Claim(ours, cfamc, simclr, usual, "proportional"),
        Claim(ours, robust("cfamc_m3"), robust("robust_simclr_crop"), clean, "proportional"),
        Claim(ours, robust("cfamc_m3"), robust("robust_simclr_crop"), usual, "proportional"),
        Claim(free, cfamc, emp, small, "proportional"),
        Claim(free, cfamc, emp, usual, "proportional"),
        Claim(free, robust("cfamc_m3"), robust("robust_emp_crop"), small, "proportional"),
        Claim(free, robust("cfamc_m3"), robust("robust_emp_crop"), usual, "proportional"),
        Claim("CF-AMC-SSL is ahead of SimCLR-FreeAdv", cfamc, Side("simclr_freeadv_m3"), usual),
        # At this radius standard heads are near 0.
        Claim("5 replays are ahead of 3 at 16/255", robust("cfamc_m5"), robust("cfamc_m3"), large),
        Claim(
            "12 replays are ahead of 3 at 16/255", robust("cfamc_m12"), robust("cfamc_m3"), large
        ),
        Claim(f"{head}: CF-AMC-SSL", robust("cfamc_m3"), cfamc, usual),
        Claim(f"{head}: robust EMP-SSL", robust("robust_emp_crop"), emp, usual),
        Claim(f"{crops}: EMP-SSL", Side("emp_ssl", "crops32"), plain, clean),
        Claim(
            "EMP-SSL without adversarial training has no robustness", plain, None, usual, limit=5
        ),
        Claim(reference, cfamc, Side("cfamc_m3", preset="reference"), clean),
        Claim(reference, cfamc, Side("cfamc_m3", preset="reference"), usual),
    )


CLAIMS = _claims()


def taken(directory: Path) -> tuple[list[dict[str, Any]], dict[str, list[list[str]]]]:
    """Read the runs at small scale below a directory.

    Returns:
        One row for each report, and the thinned training curves under their names.

    Raises:
        UserError: there is no report of a run at small scale.
    """
    rows, curves, others = [], {}, set()
    for file in sorted(directory.glob(f"results/*/*/**/{FILE}")):
        run, evaluation = file.relative_to(directory).parts[1:3]
        named = NAME.fullmatch(run)
        if named is None:
            others.add(run)
            continue
        report = Report.read(file)
        found: dict[str, Any] = {
            "row": named["row"],
            "dataset": named["dataset"],
            "budget": round(float(named["millions"]) * 1e6),
            "series": "proportional" if named["series"] else "equal",
            "preset": named["preset"],
            "seed": report.pretrain_config.get("seed"),
            "evaluation": evaluation,
        }
        found |= {
            "crop_passes": report.crop_passes,
            "precision": str(report.pretrain_config.get("precision")),
            "figures": {m.label: [m.correct, m.total] for m in report.measurements},
            "alarms": report.alarms,
            "device": report.hardware["name"],
        }
        rows.append(found)
        metrics = Path(report.checkpoint).parent / "metrics.csv"
        curve = f"{run}-seed{found['seed']}"
        if curve not in curves and metrics.exists():
            curves[curve] = thinned(metrics)
    if others:
        say(f"Left out, because they are not at small scale: {', '.join(sorted(others))}.")
    if not rows:
        raise UserError(
            f"There is no report of a run at small scale below {directory}/results; give the "
            "--directory of python -m solo_adv.reproduce --scale small."
        )
    return rows, curves


def thinned(metrics: Path) -> list[list[str]]:
    """Steps and losses of a ``metrics.csv``, with a heading, at most ``POINTS`` of them."""
    with metrics.open(encoding="utf-8", newline="") as lines:
        held = list(csv.DictReader(lines))
    keys = held[0] if held else {}
    named = [(match[1], key) for key in keys for match in [LOSS.fullmatch(key)] if match]
    if not named:
        return [["step", "loss"]]
    ((name, key),) = named
    told = [[row["step"], row[key]] for row in held if row.get(key)]
    every = max(1, math.ceil(len(told) / POINTS))
    return [["step", name], *told[::every]]


def key(row: Mapping[str, Any]) -> tuple[Any, ...]:
    """What tells a row of the result file from the others."""
    names = ("row", "dataset", "budget", "series", "preset", "seed", "evaluation")
    return tuple(row[name] for name in names)


@dataclass(frozen=True)
class Measured:
    """An accuracy in percent: the mean over seeds, and its standard error."""

    value: float
    error: float
    seeds: int


def _by_budget(
    rows: Iterable[Mapping[str, Any]], side: Side, claim: Claim
) -> dict[int, list[list[int]]]:
    """The counts of correct and of all images of a side, one pair for each seed, by budget."""
    found: dict[int, list[list[int]]] = {}
    for row in rows:
        judged = Side(row["row"], row["evaluation"], row["preset"])
        series = row["series"] == claim.series or side.row == YARDSTICK_ROW
        if (
            judged == side
            and series
            and row["dataset"] == "cifar10"
            and claim.label in row["figures"]
        ):
            found.setdefault(row["budget"], []).append(row["figures"][claim.label])
    return found


def budgets(rows: Sequence[Mapping[str, Any]], claim: Claim) -> list[int]:
    """The budgets at which a claim is looked at, the largest first.

    They are the largest one at which all sides of the claim were run in its series, on CIFAR-10,
    and, if a smaller one has more seeds, the one that has most. If only one side was run, it is the
    largest of that; if the sides have no budget in common, it is 0. The row that proportional
    budgets are measured by has the same budget in both series.
    """
    sides = [_by_budget(rows, side, claim) for side in claim.sides]
    if not all(sides):
        return [max((budget for side in sides for budget in side), default=0)]
    common = sorted(set(sides[0]).intersection(*sides), reverse=True)
    seeds = {budget: min(len(side[budget]) for side in sides) for budget in common}
    most = max(common, key=lambda budget: seeds[budget], default=0)
    largest = common[:1] or [0]
    return largest if most == 0 or seeds[most] == seeds[common[0]] else [*largest, most]


def measured(
    rows: Sequence[Mapping[str, Any]], side: Side, claim: Claim, budget: int
) -> Measured | None:
    """The accuracy of a side at a budget, or None if it has not been run there.

    The standard error is that of the mean over seeds if there are several, and at least that of the
    drawn images.
    """
    counts = _by_budget(rows, side, claim).get(budget)
    if not counts:
        return None
    shares = [correct / total for correct, total in counts]
    mean = sum(shares) / len(shares)
    drawn = mean * (1 - mean) / sum(total for _, total in counts)
    spread = 0.0
    if len(shares) > 1:
        spread = sum((s - mean) ** 2 for s in shares) / (len(shares) - 1) / len(shares)
    return Measured(100 * mean, 100 * math.sqrt(max(drawn, spread)), len(shares))


def printed(side: Side, label: str, head: str | None) -> str | None:
    """What the paper prints for a row on CIFAR-10 with a head; None if it prints nothing.

    If its tables differ, the values are joined by ``or``.
    """
    quantity, _, epsilon = label.partition(" at ")
    crops = side.evaluation.removeprefix("crops")
    protocol: dict[str, Any] = {"protocol": "central"}
    if crops.isdecimal():
        protocol = {"protocol": "crops", "num_crops": int(crops)}
    radius = float(Fraction(epsilon or 0))
    wanted = {"row": side.row, "dataset": "cifar10", "quantity": quantity, "head": head, **protocol}
    values = [f"{figure.value:g}" for figure in figures(epsilon=radius, **wanted)]
    return " or ".join(dict.fromkeys(values)) if values and side.preset is None else None


def printed_pair(claim: Claim) -> str:
    """What the paper prints for the sides of a claim, with one head for both if it can be."""
    heads = ["robust" if side.evaluation == "robust" else "standard" for side in claim.sides]
    pairs = [heads] if len(set(heads)) > 1 else [heads, ["robust"] * len(heads)]
    best: list[str | None] = []
    for pair in pairs:
        told = [
            value and f"{value} ({head})"
            for side, head in zip(claim.sides, pair, strict=True)
            for value in [printed(side, claim.label, head)]
        ]
        best = max(best, told, key=lambda found: sum(value is not None for value in found))
    return " against ".join(value or "-" for value in best)


def verdict(claim: Claim, found: Sequence[Measured | None]) -> str:
    """Whether a claim holds in our runs: ``holds``, ``does not hold``, ``open`` or ``not run``."""
    first, second = found[0], found[-1]
    if first is None or second is None:
        return "not run"
    if claim.second is None:
        ahead, error = claim.limit - first.value, first.error
    else:
        ahead, error = first.value - second.value, math.hypot(first.error, second.error)
    if abs(ahead) <= SURE * error:
        return "open"
    return "**holds**" if ahead > 0 else "**does not hold**"


def _words(found: Measured | None) -> str:
    if found is None:
        return "-"
    seeds = f", {found.seeds} seeds" if found.seeds > 1 else ""
    return f"{found.value:.1f} ± {found.error:.1f}{seeds}"


def _name(side: Side) -> str:
    words = [f"`{side.row}`"]
    if side.evaluation != "standard":
        words.append(side.evaluation)
    if side.preset:
        words.append(f"`preset={side.preset}`")
    return ", ".join(words)


def claims_table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The claims in Markdown."""
    lines = [
        "| claim | sides | measured | the paper prints | here | verdict |",
        "|---|---|---|---|---|---|",
    ]
    for claim, budget in [(each, b) for each in CLAIMS for b in budgets(rows, each)]:
        found = [measured(rows, side, claim, budget) for side in claim.sides]
        names = [_name(side) for side in claim.sides]
        passes = f" of {budget / 1e6:g} M" if budget else ""
        cells = [
            claim.text,
            " against ".join(names if claim.second else [*names, f"at most {claim.limit:g}"]),
            f"{claim.label}, {claim.series} budgets{passes}",
            printed_pair(claim),
            " against ".join(map(_words, found)),
            verdict(claim, found),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def runs_table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """All runs in Markdown, with every accuracy in percent."""
    labels = list(dict.fromkeys(label for row in rows for label in row["figures"]))
    names = ["row", "series", "preset", "seed", "M passes", "precision", "judged by", *labels]
    lines = [f"| {' | '.join(names)} |", f"|{'---|' * len(names)}"]
    for row in sorted(rows, key=lambda row: tuple(map(str, key(row)))):
        counts = [row["figures"].get(label) for label in labels]
        cells = [
            *(f"`{row['row']}`", row["series"], row["preset"] or "-", str(row["seed"])),
            *(f"{row['crop_passes'] / 1e6:.2f}", row["precision"], row["evaluation"]),
            *("-" if count is None else f"{100 * count[0] / count[1]:.1f}" for count in counts),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def page(rows: Sequence[Mapping[str, Any]], with_picture: bool) -> str:
    """The text of ``docs/results.md``."""
    runs = "\n".join(runs_table(rows)) if rows else "None has been run to its end yet."
    if with_picture:
        runs += "\n\n![Training loss of each run, by batch](results.png)"
    text = TEMPLATE.read_text(encoding="utf-8")
    return text.format(sure=f"{SURE:g}", claims="\n".join(claims_table(rows)), runs=runs)


def picture(curves: Mapping[str, Sequence[Sequence[str]]], file: Path) -> None:
    """Draw the training losses by batch, one panel for each kind of loss, into a PNG."""
    kinds: dict[str, list[str]] = {}
    for name, points in curves.items():
        kinds.setdefault(points[0][1], []).append(name)
    figure = Figure(figsize=(6.4, 2.8 * len(kinds)), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    for number, (kind, names) in enumerate(sorted(kinds.items()), 1):
        axes = figure.add_subplot(len(kinds), 1, number)
        for name in sorted(names):
            steps, losses = zip(*curves[name][1:], strict=True)
            axes.plot([int(s) for s in steps], [float(x) for x in losses], label=name, lw=1)
        axes.set(xlabel="batch", ylabel=kind.replace("_", " "))
        axes.legend(fontsize=6)
    figure.savefig(file)


def held_curves(folder: Path) -> dict[str, list[list[str]]]:
    """The curves in the result files."""
    found = {}
    for file in sorted(folder.glob("*.csv")):
        with file.open(encoding="utf-8", newline="") as lines:
            points = list(csv.reader(lines))
        if len(points) > 1:
            found[file.stem] = points
    return found


def held_rows(file: Path) -> list[dict[str, Any]]:
    """The rows in the result file; none if it does not exist."""
    return list(json.loads(file.read_text(encoding="utf-8"))["rows"]) if file.exists() else []


def main() -> None:
    """Take figures in, and write the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--from",
        dest="places",
        type=Path,
        nargs="+",
        default=[],
        help="directories of python -m solo_adv.reproduce --scale small",
    )
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--docs", type=Path, default=DOCS)
    options = parser.parse_args()
    file, folder = options.results / "small.json", options.results / CURVES
    with user_errors():
        rows = {key(row): row for row in held_rows(file)}
        for place in options.places:
            found, curves = taken(place)
            rows |= {key(row): row for row in found}
            folder.mkdir(parents=True, exist_ok=True)
            for name, points in curves.items():
                text = "".join(f"{','.join(point)}\n" for point in points)
                write_whole(folder / f"{name}.csv", text)
        if options.places:
            store("small", {"rows": list(rows.values())}, file)
        drawn = held_curves(folder)
        if drawn:
            picture(drawn, options.docs / "results.png")
        write_whole(options.docs / "results.md", page(list(rows.values()), bool(drawn)))
        print(f"Written: {options.docs / 'results.md'}, of {len(rows)} measured rows.")


if __name__ == "__main__":
    main()
