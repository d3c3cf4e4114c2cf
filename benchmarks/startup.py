"""Time in which commands answer, against ``import torch``: ``python -m benchmarks.startup``.

It starts ``python -c "import torch"`` and commands that only answer (help, mistakes, lists) in turn
and gives the median over several rounds of the time relative to that of ``import torch`` shortly
before. An answer should take at most 1.5 times as long.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from itertools import groupby
from pathlib import Path
from statistics import median

from benchmarks.record import store

ALLOWED = 1.5
"""Largest accepted time of an answer, relative to ``import torch``."""
YARDSTICK = ("-c", "import torch")

_CONFIG = ("--config-name", "cfamc.yaml")
_COMMANDS = "solo_adv.commands"
ANSWERS: dict[str, tuple[str, ...]] = {
    "pretrain: help": (f"{_COMMANDS}.pretrain", "--help"),
    "pretrain: help of a method": (f"{_COMMANDS}.pretrain", *_CONFIG, "--help"),
    "pretrain: no config": (f"{_COMMANDS}.pretrain",),
    "pretrain: wrong config": (f"{_COMMANDS}.pretrain", "--config-name", "cfamk"),
    "pretrain: wrong data": (f"{_COMMANDS}.pretrain", *_CONFIG, "data=cifar1"),
    "pretrain: wrong key": (f"{_COMMANDS}.pretrain", *_CONFIG, "optimizer.lrr=1"),
    "pretrain: wrong new key": (f"{_COMMANDS}.pretrain", *_CONFIG, "+adversary.epsilonn=1"),
    "pretrain: wrong value": (f"{_COMMANDS}.pretrain", *_CONFIG, "adversary.epsilon=8"),
    "pretrain: wrong type": (f"{_COMMANDS}.pretrain", *_CONFIG, "max_epochs=two"),
    "pretrain: wrong method": (f"{_COMMANDS}.pretrain", *_CONFIG, "method=cfamk"),
    "pretrain: wrong optimiser": (f"{_COMMANDS}.pretrain", *_CONFIG, "optimizer.name=adamm"),
    "pretrain: wrong backbone": (
        f"{_COMMANDS}.pretrain",
        *(*_CONFIG, "data=digits", "backbone.name=resnet19"),
    ),
    "linear: help": (f"{_COMMANDS}.linear", "--help"),
    "linear: wrong key": (f"{_COMMANDS}.linear", "epochs=1"),
    "linear: wrong value": (
        f"{_COMMANDS}.linear",
        *("pretrained_feature_extractor=nowhere", "max_epochs=two"),
    ),
    "robust: help": (f"{_COMMANDS}.robust", "--help"),
    "robust: wrong key": (f"{_COMMANDS}.robust", "epsilon=1/255"),
    "robust: wrong value": (f"{_COMMANDS}.robust", "epsilons=[4,8]"),
    "robust: wrong checkpoint": (f"{_COMMANDS}.robust", "checkpoint=nowhere.ckpt"),
    "knn: help": (f"{_COMMANDS}.knn", "--help"),
    "knn: wrong key": (f"{_COMMANDS}.knn", "--kk", "20"),
    "knn: wrong checkpoint": (f"{_COMMANDS}.knn", "--pretrained_checkpoint_dir", "nowhere"),
    "umap: help": (f"{_COMMANDS}.umap", "--help"),
    "umap: wrong key": (f"{_COMMANDS}.umap", "--kk", "20"),
    "benchmark: help": ("solo_adv.benchmark", "--help"),
    "benchmark: wrong checkpoint": ("solo_adv.benchmark", "checkpoint=nowhere.ckpt"),
    "benchmark: wrong recipe": ("solo_adv.benchmark", "checkpoint=nowhere.ckpt", "recipe=best"),
    "demo: help": (f"{_COMMANDS}.demo", "--help"),
    "zoo: help": ("solo_adv.zoo", "--help"),
    "zoo: list": ("solo_adv.zoo", "list"),
    "zoo: wrong command": ("solo_adv.zoo", "show"),
    "zoo: wrong name": ("solo_adv.zoo", "info", "nothing"),
    "report: help": ("solo_adv.report", "--help"),
    "report: wrong place": ("solo_adv.report", "nowhere"),
    "paper: help": ("solo_adv.paper", "--help"),
    "paper: wrong table": ("solo_adv.paper", "table9"),
    "reproduce: help": ("solo_adv.reproduce", "--help"),
    "reproduce: wrong table": ("solo_adv.reproduce", "table9"),
    "reproduce: wrong value": ("solo_adv.reproduce", "table1", "adversary.epsilon=8"),
    "cost: help": ("solo_adv.cost", "--help"),
    "cost: wrong config": ("solo_adv.cost", "--config-name", "cfamk"),
    "cost: wrong key": ("solo_adv.cost", *_CONFIG, "optimizer.lrr=1"),
    "cost: wrong value": ("solo_adv.cost", *_CONFIG, "adversary.epsilon=8"),
    "preview: help": ("solo_adv.preview", "--help"),
    "preview: wrong config": ("solo_adv.preview", "--config-name", "cfamk"),
    "preview: wrong key": ("solo_adv.preview", *_CONFIG, "optimizer.lrr=1"),
    "preview: wrong value": ("solo_adv.preview", *_CONFIG, "adversary.epsilon=8"),
    "solo_learn: help": ("solo_adv.solo_learn", "--help"),
    "solo_learn: no script": ("solo_adv.solo_learn",),
}
"""The module and arguments of commands that answer without computing anything."""


def seconds(arguments: tuple[str, ...], directory: Path) -> float:
    """Run Python once with these arguments, its output discarded; the wall-clock time."""
    root = Path(__file__).parents[1]
    paths = [str(root), *filter(None, [os.environ.get("PYTHONPATH")])]
    begun = time.perf_counter()
    subprocess.run(
        [sys.executable, *arguments],
        cwd=directory,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=False,
    )
    return time.perf_counter() - begun


def main() -> None:
    """Measure, print a line for each command, and store the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="after one that is not counted")
    parser.add_argument("--only", default="", help="only commands whose name contains this")
    parser.add_argument("--output", type=Path, help="result file (JSON)")
    args = parser.parse_args()
    answers = {name: command for name, command in ANSWERS.items() if args.only in name}
    taken: dict[str, list[float]] = {name: [] for name in answers}
    ratios: dict[str, list[float]] = {name: [] for name in answers}
    yardsticks = []
    with tempfile.TemporaryDirectory() as directory:
        for number in range(args.rounds + 1):
            for _, names in groupby(answers, key=lambda name: answers[name][0]):
                yardstick = seconds(YARDSTICK, Path(directory))
                yardsticks.append(yardstick)
                for name in names:
                    spent = seconds(("-m", *answers[name]), Path(directory))
                    if number:
                        taken[name].append(spent)
                        ratios[name].append(spent / yardstick)
    rows = [
        {
            "name": name,
            "command": " ".join(("python -m", *answers[name])),
            "seconds": median(taken[name]),
            "to_import_torch": median(ratios[name]),
        }
        for name in answers
    ]
    import_torch = median(yardsticks)
    print(f"import torch: {import_torch:.2f} s")
    for row in sorted(rows, key=lambda row: row["to_import_torch"]):
        mark = "" if row["to_import_torch"] <= ALLOWED else f"  more than {ALLOWED}"
        print(f"{row['name']:26} {row['seconds']:5.2f} s  x {row['to_import_torch']:.2f}{mark}")
    result = {
        "benchmark": "startup",
        "rounds": args.rounds,
        "allowed": ALLOWED,
        "import_torch_seconds": import_torch,
        "rows": rows,
    }
    print(store("startup_cpu", result, args.output))


if __name__ == "__main__":
    main()
