"""``python -m solo_adv.reproduce table4 [--row cfamc_m5] [--scale tiny] [--dry-run]``."""

import argparse
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from solo_adv.reproduce.commands import printed
from solo_adv.reproduce.plan import Job, Request, plan
from solo_adv.reproduce.rows import ALL, EVALUATIONS, TABLES
from solo_adv.reproduce.scales import PASSES, SCALES, YARDSTICK_ROW, scale_of
from solo_adv.support.cli import quiet_libraries, user_errors
from solo_adv.support.errors import UserError
from solo_adv.support.files import given_path
from solo_adv.support.progress import duration
from solo_adv.support.terminal import print_table

if TYPE_CHECKING:
    from solo_adv.cost import Cost, Network

ENTIRE_SET = ""


def show(jobs: Sequence[Job], throughput: float | None) -> None:
    """Print the commands of the jobs and what they cost."""
    from solo_adv.reproduce.run import finished, remaining

    for job in jobs:
        checkpoint = finished(job)
        print(f"# {job.name}{'' if checkpoint is None else ' (trained)'}")
        print("\n".join(printed(job, checkpoint)), end="\n\n")
    costs = [job.cost() for job in jobs]
    if throughput is None:
        rate, told = _rate(costs)
    else:
        rate = throughput
        told = f"{rate:,.0f} passes a second of ResNet-18 on 32 pixels (as given)"
    table = Table(title="What it takes")
    table.add_column("run")
    for name in ("updates", "passes\nan image", "passes\nto train", "to judge", "network", "time"):
        table.add_column(name, justify="right")
    for job, spent in zip(jobs, costs, strict=True):
        table.add_row(escape(job.name), *_cells(spent, rate))
    whole = sum(spent.seconds(rate) for spent in costs)
    passes = sum(spent.pretraining for spent in costs)
    judging = sum(spent.evaluation for spent in costs)
    table.add_section()
    table.add_row("all", "", "", _millions(passes), _millions(judging), "", duration(whole))
    print_table(table)
    print(
        "A pass: one crop, forward and backward. To judge: heads and PGD, at most; AutoAttack\n"
        f"comes on top. Time at {told},\n"
        "other networks in proportion to their arithmetic (column network)."
    )
    left = sum(remaining(job).seconds(rate) for job in jobs)
    if left < whole:
        rest = f"the rest takes {duration(left)}" if left else "nothing is left to do"
        print(f"What is finished already is not repeated: {rest}.")


def _rate(costs: Sequence["Cost"]) -> tuple[float, str]:
    """Passes a second of the paper's network, as the network with most work makes them here.

    Returns:
        The rate, and words for it.
    """
    from solo_adv.cost import measured_throughput

    work: Counter[Network] = Counter()
    for spent in costs:
        work[spent.network] += round(spent.seconds(1))
    most = max(costs, key=lambda spent: work[spent.network])
    made = measured_throughput(most.network)
    text = (
        f"{made:,.0f} passes a second of the network that has most to do (measured here just now)"
    )
    return made * most.relative, text


def _cells(spent: "Cost", rate: float) -> list[str]:
    return [
        f"{spent.updates:,}",
        f"{spent.per_image:,}",
        _millions(spent.pretraining),
        _millions(spent.evaluation),
        f"x {spent.relative:.2g}",
        duration(spent.seconds(rate)),
    ]


def _millions(passes: int) -> str:
    return f"{passes / 1e6:,.2f} M"


def parser() -> argparse.ArgumentParser:
    """Make the parser of the command line."""
    found = argparse.ArgumentParser(
        prog="python -m solo_adv.reproduce",
        description="Run rows of the paper's tables: pretrain, judge, merge. Continues where it "
        "was interrupted: what is finished is not repeated.",
    )
    add = found.add_argument
    tables = ", ".join((*TABLES, "all"))
    add("table", nargs="?", help=f"{tables} (tables 1 to 6); not needed with --row")
    add("overrides", nargs="*", help="key=value for every pretraining run, such as seed=6")
    row_help = "only this row, without a table by the evaluations of all; may be repeated"
    add("--row", action="append", default=[], help=row_help)
    add("--dataset", action="append", default=[], help=f"only this one of {', '.join(ALL)}")
    judged = ", ".join(EVALUATIONS)
    add("--evaluation", action="append", default=[], help=f"judge only by this one of {judged}")
    scale_help = "the same on digits, in minutes; small: on CIFAR with a narrow network, on a CPU"
    add("--scale", default="full", help=f"one of {', '.join(SCALES)}. tiny: {scale_help}")
    add(
        "--passes", type=int, help=f"of --scale small: crop passes of a run; {PASSES:,} if left out"
    )
    proportional_help = f"of --scale small: these are {YARDSTICK_ROW}'s, others' as in the paper"
    add("--proportional", action="store_true", help=proportional_help)
    add("--dry-run", action="store_true", help="print the commands and what they cost")
    add("--preset", help="reference: the reference code's choices that change results")
    add("--data-path", action="append", default=[], metavar="[DATASET=]DIR", help="where data lie")
    add("--data-format", help="image_folder or parquet")
    add("--directory", type=given_path, default=Path("reproduce"), help="for all output")
    add("--throughput", type=float, help="crop passes a second, for the expected time")
    add("--list", action="store_true", help="print row and data set of every run")
    add("--checkpoint", action="store_true", help="print the last checkpoint of every finished run")
    return found


def request(given: argparse.Namespace) -> Request:
    """Turn the parsed command line into a request.

    Raises:
        UserError: an argument is missing or cannot be used.
    """
    overrides = list(given.overrides)
    if given.table is not None and "=" in given.table:  # no table was named before key=value
        overrides.insert(0, given.table)
        given.table = None
    if given.table is None and not given.row and not given.list:
        accepted = ", ".join((*TABLES, "all"))
        raise UserError(f"Name a table, or a row with --row. Accepted: {accepted}.")
    for override in overrides:
        if "=" not in override:
            raise UserError(f"'{override}' is not key=value; one table can be named at a time.")
    if given.throughput is not None and given.throughput <= 0:
        raise UserError(f"--throughput must be above 0; got {given.throughput:g}.")
    paths = {}
    for text in given.data_path:
        dataset, equals, path = text.partition("=")
        if equals and dataset not in ALL:
            raise UserError(f"--data-path {text}: the data set must be one of {', '.join(ALL)}.")
        paths[dataset if equals else ENTIRE_SET] = path if equals else text
    return Request(
        tables=[given.table] if given.table else [],
        rows=given.row,
        datasets=given.dataset,
        evaluations=given.evaluation,
        scale=scale_of(given.scale, given.passes, given.proportional),
        preset=given.preset,
        directory=given.directory.expanduser(),
        data_paths=paths,
        data_format=given.data_format,
        extra=tuple(overrides),
    )


def main() -> None:
    """The command line."""
    given = parser().parse_intermixed_args()
    quiet_libraries()
    with user_errors():
        jobs = plan(request(given))
        if given.list:
            print("\n".join(f"{job.row.name} {job.dataset}" for job in jobs))
            return
        if given.dry_run:
            show(jobs, given.throughput)
            return
        from solo_adv.reproduce.run import execute, finished

        if given.checkpoint:
            for job in jobs:
                print(_trained(job, finished(job)))
            return
        for path in execute(jobs):
            print(path)


def _trained(job: Job, checkpoint: Path | None) -> Path:
    if checkpoint is None:
        raise UserError(f"{job.name} is not trained yet: no finished run is in {job.checkpoints}.")
    return checkpoint


if __name__ == "__main__":
    main()
