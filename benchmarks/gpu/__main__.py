"""Runs the GPU list within a time budget: ``python -m benchmarks.gpu --minutes 9 --data DIR``.

The most valuable items come first. The same command continues where the last one stopped: it skips
items that are done, and a training or an evaluation that was cut off continues from its checkpoint.
``benchmarks/gpu/README.md`` says what each item is for. ``--rehearse`` runs the same list at toy
sizes on the digits, on any machine, to check that every command line works.
"""

import argparse
import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.record import RESULTS
from solo_adv.methods.tensor_rates import check_takes_tensors
from solo_adv.support.errors import TRY_AGAIN, UserError

SPARE_SECONDS = 15.0
"""Time reserved for a stopped command to write its checkpoint."""
TABLE4 = (
    *("cfamc_m5", "simclr_freeadv_m3", "robust_emp_crop", "cfamc_m12", "cfamc_m5_18ep"),
    *("simclr_freeadv_m5", "robust_simclr_crop", "supervised_freeadv_m3", "supervised_freeadv_m7"),
)
"""The other rows of Table 4, the most valuable ones first."""


@dataclass(frozen=True, kw_only=True)
class Item:
    """One command of the list.

    Attributes:
        name: Name in ``--only`` and in the state file.
        module: Module that ``python -m`` runs.
        arguments: Its command line.
        toy: Further arguments for the rehearsal, which override those before.
        resumes: Whether the same command continues a run that was cut off or starts it again.
    """

    name: str
    module: str
    arguments: tuple[str, ...] = ()
    toy: tuple[str, ...] = ()
    resumes: bool = False


def graph() -> str:
    """The setting that makes a replay one CUDA graph, or none if this LARS cannot be in it."""
    try:
        check_takes_tensors("lars")
    except UserError as error:
        print(f"Trainings run without CUDA graphs: {error}", file=sys.stderr)
        return "performance.graph=none"
    return "performance.graph=replay"


def items(
    data: str, work: Path, *, rehearsal: bool = False, settings: Sequence[str] = ()
) -> list[Item]:
    """All items in their order.

    Args:
        data: Folder of CIFAR-10 as Parquet.
        work: Folder of checkpoints and reports, kept from call to call.
        rehearsal: Whether the trainings are of toy size, on the digits; for other items the
            arguments in ``toy`` do the same.
        settings: Overrides of every training, such as ``performance.compile=default``.
    """
    fast = tuple(settings) if rehearsal else (graph(), *settings)
    if rehearsal:
        where: tuple[str, ...] = ("--scale", "tiny", "max_epochs=1")
    else:
        where = ("--data-path", data, "--data-format", "parquet", "precision=bf16-mixed")

    def row(table: str, name: str, suffix: str = "") -> Item:
        return Item(
            name=name + suffix,
            module="solo_adv.reproduce",
            arguments=(
                *(table, "--row", name, "--dataset", "cifar10"),
                *("--directory", str(work / "reproduce"), *where, *fast),
            ),
            resumes=True,
        )

    def benchmark(
        module: str, *arguments: str, name: str | None = None, toy: Sequence[str] = ()
    ) -> Item:
        return Item(
            name=name or module, module=f"benchmarks.{module}", arguments=arguments, toy=tuple(toy)
        )

    real = () if rehearsal else ("--data", data)

    def methods(number: int, *toy: str) -> Item:
        return Item(
            name=f"methods-{number}",
            module="benchmarks.methods",
            arguments=(
                *("--data", "digits" if rehearsal else data, "--round", str(number)),
                *("--work", str(work / "methods")),
                *("--output", str((work if rehearsal else RESULTS) / "methods.json")),
                *(() if rehearsal else ("--precision", "bf16-mixed")),
                *(("--settings", *fast) if fast else ()),
            ),
            toy=("--budget", "3000", *toy),
            resumes=True,
        )

    step = ("--methods", "cfamc", "--precisions", "bf16-mixed")
    small = ("--batch", "4", "--views", "2")
    return [
        Item(
            name="correctness",
            module="pytest",
            arguments=("-q", "tests/gpu", "tests/device", "-m", "slow or not slow"),
            toy=("-m", "not slow", "-k", "cfamc"),
        ),
        benchmark("ceiling", toy=("--sizes", "256", "--crops", "4")),
        *(
            benchmark(
                *("step", *step, "--batch", str(batch), "--compile", mode),
                *("--name", f"step_cuda_{batch}_{mode}"),
                name=f"step-{batch}-{mode}",
                toy=small,
            )
            for batch, mode in (
                *((100, "none"), (100, "default"), (400, "none"), (400, "default")),
                *((25, "none"), (25, "default"), (100, "reduce-overhead")),
            )
        ),
        *(
            benchmark(
                *("step", *step, "--batch", str(batch), "--compile", mode, "--graph", "replay"),
                *("--name", f"step_cuda_{batch}_{mode}_graph"),
                name=f"step-{batch}-{mode}-graph",
                toy=(*small, "--graph", "none"),  # only CUDA has graphs
            )
            for batch, mode in ((100, "none"), (100, "default"), (25, "default"))
        ),
        benchmark(
            *("step", *step, "--batch", "100", "--contiguous", "--name", "step_cuda_contiguous"),
            name="step-contiguous",
            toy=small,
        ),
        benchmark(
            *("step", "--batch", "100", "--precisions", "32-true", "bf16-mixed"),
            *("--methods", "emp_ssl", "robust_emp", "cfamc", "--name", "step_cuda_methods"),
            name="step-methods",
            toy=(*small, "--methods", "cfamc"),
        ),
        benchmark(
            *("profile", "--batch", "100", "--precision", "bf16-mixed"),
            *("--trace", str(work / "step_trace.json")),
            toy=(*small, "--steps", "2"),
        ),
        row("table4", "cfamc_m3"),
        benchmark(
            *("attack", *real, "--images", "2048", "--judged", "10000", "--batch", "100"),
            *("--views", "16", "--rounds", "1", "--craftings", "32-true", "bf16-mixed"),
            *("32-true compiled", "bf16-mixed compiled"),
            toy=(
                *("--images", "8", "--judged", "16", "--steps", "2", "--rounds", "0", *small),
                *("--craftings", "32-true", "bf16-mixed"),
            ),
        ),
        methods(1, "--arms", "cfamc", "deacl_fast"),
        row("table6", "cfamc_m3", "-autoattack"),
        *(methods(number) for number in (2, 3)),
        benchmark(
            *("eval", *real, "--features", "50000", "--dim", "4096", "--epochs", "20"),
            *("--images", "2048", "--queries", "1000"),
            toy=(
                *("--features", "600", "--dim", "32", "--epochs", "1", "--images", "4"),
                *("--queries", "8"),
            ),
        ),
        benchmark(
            "memory",
            *("--batch", "25", "100"),
            toy=("--batch", "4", "--methods", "simclr_freeadv", "--", "backbone.name=resnet10t"),
        ),
        benchmark("loss", toy=("--small",)),
        *(row("table4", name) for name in TABLE4[:3]),
        benchmark(
            *("eval", *real, "--parts", "autoattack", "--autoattack", "1000", "--images", "1000"),
            name="eval-autoattack",
            toy=("--autoattack", "2", "--images", "2"),
        ),
        Item(name="dali-tests", module="pytest", arguments=("-q", "tests/crops", "-k", "dali")),
        benchmark(
            "crops",
            toy=("--sizes", "32", "--views", "2", "--seconds", "0.1", "--backends", "torch"),
        ),
        *(row("table4", name) for name in TABLE4[3:]),
    ]


class State:
    """Which items are done, kept in a file.

    Args:
        file: Path of the JSON file.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self.items: dict[str, dict[str, object]] = {}
        if file.exists():
            self.items = json.loads(file.read_text())

    def note(self, name: str, **facts: object) -> None:
        """Record facts about an item and write the file."""
        self.items[name] = {**self.items.get(name, {}), **facts}
        self.file.parent.mkdir(parents=True, exist_ok=True)
        self.file.write_text(json.dumps(self.items, indent=2) + "\n")

    def is_done(self, name: str) -> bool:
        """Whether the item has ended, with or without an error."""
        return "status" in self.items.get(name, {})

    def seconds(self, name: str, fact: str = "seconds") -> float:
        """A recorded time of an item, or 0."""
        return float(str(self.items.get(name, {}).get(fact, 0)))


def command(item: Item, *, rehearsal: bool = False) -> list[str]:
    """The command that runs the item."""
    arguments = (*item.arguments, *item.toy) if rehearsal else item.arguments
    return [sys.executable, "-m", item.module, *arguments]


def run(
    todo: Sequence[Item],
    state: State,
    seconds: float,
    *,
    rehearsal: bool = False,
    results: Path = RESULTS,
) -> None:
    """Run the items that are not done, in their order, until the time is over.

    If an item fails, its status is recorded and the next one runs. An item that is cut off by the
    budget remains to be done. If it cannot resume, it waits for a call that has more time for it
    than the last.

    Args:
        todo: The items.
        state: Which of them are done.
        seconds: The time budget.
        rehearsal: Whether to add the toy arguments.
        results: Folder for the result files of the benchmarks.
    """
    end = time.monotonic() + seconds
    environment = {**os.environ, "BENCHMARK_RESULTS": str(results)}
    for item in todo:
        left = end - time.monotonic() - SPARE_SECONDS
        if state.is_done(item.name):
            continue
        if left <= 0:
            return
        if not item.resumes and left <= state.seconds(item.name, "cut_off_after"):
            print(f"== {item.name}: skipped, needs more than the {left / 60:.1f} min left")
            continue
        arguments = command(item, rehearsal=rehearsal)
        print(f"== {item.name} ({left / 60:.1f} min left): {shlex.join(arguments)}", flush=True)
        begun = time.monotonic()
        with subprocess.Popen(arguments, env=environment) as process:
            try:
                status: int | None = process.wait(left)
            except subprocess.TimeoutExpired:
                status = None
                _stop(process)
        took = time.monotonic() - begun
        state.note(item.name, seconds=round(state.seconds(item.name) + took, 1))
        if status is None or status == TRY_AGAIN:
            state.note(item.name, cut_off_after=round(took, 1))
            how = "continues" if item.resumes else "starts again"
            print(f"== {item.name}: out of time; it {how} with the same command", flush=True)
            return
        state.note(item.name, status=status)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(SPARE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--minutes", type=float, help="time budget of this call")
    parser.add_argument("--data", help="folder of CIFAR-10 as Parquet")
    parser.add_argument("--work", type=Path, help="kept between calls; default: gpu_work")
    parser.add_argument("--only", nargs="+", help="names of items")
    parser.add_argument(
        "--again", action="store_true", help="also run items that are done or failed"
    )
    parser.add_argument("--list", action="store_true", help="print the items and their state")
    parser.add_argument("--rehearse", action="store_true", help="at toy sizes, without --data")
    parser.add_argument("settings", nargs="*", help="config overrides of every training, key=value")
    args = parser.parse_args()
    work = args.work or Path("gpu_rehearsal" if args.rehearse else "gpu_work")
    if not (args.list or args.rehearse) and (args.minutes is None or args.data is None):
        parser.error("--minutes and --data are needed")
    todo = items(args.data or "DATA", work, rehearsal=args.rehearse, settings=args.settings)
    if args.only:
        unknown = set(args.only) - {item.name for item in todo}
        if unknown:
            parser.error(f"unknown items {sorted(unknown)}; see --list")
        todo = [item for item in todo if item.name in args.only]
    state = State(work / "state.json")
    if args.list:
        for item in todo:
            print(f"{item.name}: {state.items.get(item.name, 'to do')}")
        return
    if args.again:
        for item in todo:
            state.items.pop(item.name, None)
    results = work / "results" if args.rehearse else RESULTS
    minutes = 60.0 if args.minutes is None else args.minutes
    run(todo, state, 60 * minutes, rehearsal=args.rehearse, results=results.resolve())
    print(f"Results in {results}, reports in {work}/reproduce, state in {state.file}")
    failed = [item.name for item in todo if state.items.get(item.name, {}).get("status", 0) != 0]
    if failed:
        print(f"Failed: {', '.join(failed)}")
        sys.exit(1)


if __name__ == "__main__":
    main()
