"""The GPU list within a time budget: ``python -m benchmarks.gpu --minutes 9 --data DIR``.

Most valuable items come first. The same command goes on where the last one stopped: items that are
done are left out, and a training or an evaluation that was cut off continues from its checkpoint.
``benchmarks/gpu/README.md`` says what each item is for.
"""

import argparse
import json
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.record import RESULTS

SPARE_SECONDS = 5.0
"""Left of the budget for a stopped command to write its checkpoint."""


@dataclass(frozen=True, kw_only=True)
class Item:
    """One command of the list.

    Attributes:
        name: by which it is asked for, and by which its state is kept.
        module: what ``python -m`` runs.
        arguments: its command line.
        resumes: whether the same command continues a run that was cut off; else it starts anew.
    """

    name: str
    module: str
    arguments: tuple[str, ...] = ()
    resumes: bool = False


def items(data: str, work: Path) -> list[Item]:
    """The list.

    Args:
        data: folder of CIFAR-10 as Parquet.
        work: folder of checkpoints and reports, kept from call to call.
    """
    cifar = ("data=cifar10", "data.format=parquet", f"data.train_path={data}")
    run = (f"checkpoint.dir={work}/trained", "precision=bf16-mixed", *cifar)
    trained = "{newest:" + f"{work}/trained/" + "%s}"
    judge = (f"results_dir={work}/results", "batch_size=2048")

    def judged(method: str, *arguments: str) -> Item:
        kind = "autoattack" if "autoattack=true" in arguments else "pgd"
        place = "checkpoint=" + trained % method
        return Item(
            name=f"{method}-{kind}",
            module="solo_adv.main_robust",
            arguments=(place, *judge, *arguments),
            resumes=True,
        )

    def pretrained(method: str, *arguments: str) -> Item:
        return Item(
            name=f"{method}-pretrain",
            module="solo_adv.main_pretrain",
            arguments=("--config-name", f"{method}.yaml", *run, *arguments),
            resumes=True,
        )

    step = ("--methods", "cfamc", "--batch", "100", "--precisions", "32-true", "bf16-mixed")
    return [
        Item(name="correctness", module="pytest", arguments=("-q", "-k", "cuda or gpu")),
        Item(name="step", module="benchmarks.step", arguments=step),
        Item(
            name="step-contiguous",
            module="benchmarks.step",
            arguments=(*step, "--contiguous", "--output", "step_cuda_contiguous"),
        ),
        pretrained("cfamc"),
        judged("cfamc", "linear=robust"),
        Item(name="crops", module="benchmarks.crops"),
        Item(name="loss", module="benchmarks.loss"),
        judged("cfamc", "linear=robust", "autoattack=true"),
        pretrained("emp_ssl"),
        judged("emp_ssl"),
        pretrained("robust_emp", "max_epochs=5"),
        judged("robust_emp", "linear=robust"),
    ]


class State:
    """Which items are done, in a file beside the results.

    Args:
        file: where.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self.items: dict[str, dict[str, object]] = {}
        if file.exists():
            self.items = json.loads(file.read_text())

    def note(self, name: str, **facts: object) -> None:
        """Remember facts of an item, on disk at once."""
        self.items[name] = {**self.items.get(name, {}), **facts}
        self.file.parent.mkdir(parents=True, exist_ok=True)
        self.file.write_text(json.dumps(self.items, indent=2) + "\n")

    def is_done(self, name: str) -> bool:
        """Whether it has ended, well or with an error of its own."""
        return "status" in self.items.get(name, {})


def command(item: Item) -> list[str]:
    """What runs the item; ``{newest:FOLDER}`` becomes the newest directory in that folder."""
    return [sys.executable, "-m", item.module, *map(_filled, item.arguments)]


def _filled(argument: str) -> str:
    before, mark, rest = argument.partition("{newest:")
    if not mark:
        return argument
    folder, _, after = rest.partition("}")
    found = sorted(Path(folder).glob("*/"), key=lambda path: path.stat().st_mtime)
    return before + str(found[-1] if found else Path(folder)) + after


def run(todo: Sequence[Item], state: State, seconds: float) -> None:
    """Run the items that are not done, in their order, until the time is over.

    An item that fails is noted with its status and does not stop those after it; one that is cut
    off by the budget stays to be done.
    """
    end = time.monotonic() + seconds
    for item in todo:
        left = end - time.monotonic() - SPARE_SECONDS
        if state.is_done(item.name):
            continue
        if left <= 0:
            return
        arguments = command(item)
        print(f"== {item.name} ({left / 60:.1f} min left): {shlex.join(arguments)}", flush=True)
        begun = time.monotonic()
        with subprocess.Popen(arguments) as process:
            try:
                status: int | None = process.wait(left)
            except subprocess.TimeoutExpired:
                status = None
                _stop(process)
        spent = float(str(state.items.get(item.name, {}).get("seconds", 0)))
        state.note(item.name, seconds=round(spent + time.monotonic() - begun, 1))
        if status is None:
            how = "continues" if item.resumes else "starts anew"
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
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, required=True, help="time budget of this call")
    parser.add_argument("--data", required=True, help="folder of CIFAR-10 as Parquet")
    parser.add_argument("--work", type=Path, default=Path("gpu_work"), help="kept between calls")
    parser.add_argument("--only", nargs="+", help="names of items")
    parser.add_argument("--list", action="store_true", help="print the items and their state")
    args = parser.parse_args()
    todo = items(args.data, args.work)
    if args.only:
        unknown = set(args.only) - {item.name for item in todo}
        if unknown:
            parser.error(f"unknown items {sorted(unknown)}; see --list")
        todo = [item for item in todo if item.name in args.only]
    state = State(args.work / "state.json")
    if args.list:
        for item in todo:
            print(f"{item.name}: {state.items.get(item.name, 'to do')}")
        return
    run(todo, state, 60 * args.minutes)
    print(f"Results in {RESULTS} and {args.work}/results; state in {state.file}")


if __name__ == "__main__":
    main()
