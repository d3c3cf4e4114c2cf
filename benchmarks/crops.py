"""Crops a second and memory of every backend, compared with PIL in worker processes.

``python -m benchmarks.crops [--sizes 32 224] [--views 2 16 64] [--backends ...] [--add]``

Crops of 32 pixels are cut from images in memory, those of 224 pixels from 256-pixel JPEG files,
including the decoding. Every way runs in a process of its own, bound to as many cores as its line
says, so that its peak memory can be measured. The ways take turns: each works for a window of time
while the others are stopped, then the next one, for several rounds. A changing load of the machine
therefore affects all of them, and each rate is compared with PIL's in the same round.

``--add`` adds to the result file, so that parts can be measured one at a time or several times.
"""

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch

from benchmarks.crop_ways import SOURCE_SIZES, WAYS, stream, write_files
from benchmarks.record import RESULTS, store
from solo_adv.crops.dali import import_dali
from solo_adv.support import environment
from solo_adv.support.allocator import keep_freed_memory
from solo_adv.support.cli import user_errors
from solo_adv.support.errors import UserError

CORES = 2
BASELINE = f"pil in {CORES} workers"


class Runner:
    """Runs one way in a process of its own, which works only when it is told to.

    Args:
        way: One of ``WAYS``.
        cores: Number of cores, and of threads or worker processes, that it may use.
        settings: The other arguments of :func:`benchmarks.crop_ways.stream`.
    """

    def __init__(self, way: str, cores: int, **settings: Any) -> None:
        self.way, self.cores = way, cores
        command = [sys.executable, "-m", "benchmarks.crops", "--work"]
        command.append(json.dumps({"way": way, "cores": cores, **settings}))
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            # Libraries read this number of threads when they are loaded.
            env={**os.environ, "OMP_NUM_THREADS": str(cores)},
        )
        self._answer()
        self._stop()

    def window(self, seconds: float) -> dict[str, Any]:
        """Let it work for some seconds; returns the answer of :func:`_work`."""
        assert self._process.stdin is not None
        os.killpg(self._process.pid, signal.SIGCONT)
        self._process.stdin.write(f"{seconds}\n")
        self._process.stdin.flush()
        answer = self._answer()
        self._stop()
        return answer

    def end(self) -> None:
        """End the process and its workers."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.communicate()

    def _stop(self) -> None:
        # The signal goes to its workers as well; otherwise they would go on filling their queues.
        os.killpg(self._process.pid, signal.SIGSTOP)

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("{"):
                answer: dict[str, Any] = json.loads(line)
                return answer
        raise SystemExit(f"{self.way} failed:\n{self._process.communicate()[1]}")


def _work(settings: dict[str, Any]) -> None:
    """The process of a :class:`Runner`: answers each line of input with a measurement."""
    cores = settings["cores"]
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])
    torch.set_num_threads(cores)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if settings["way"] != "pil":  # as in training on the CPU
        keep_freed_memory()
    before = _peak_mib()
    batches = stream(**{**settings, "folder": Path(settings["folder"]), "device": device})
    for _ in range(4):  # starts workers, compiles kernels, fills queues
        next(batches)
    print("{}", flush=True)
    for line in sys.stdin:
        made, start = 0, time.perf_counter()
        while time.perf_counter() - start < float(line):
            made += next(batches)
        if device.type == "cuda":
            torch.cuda.synchronize()
        answer = {
            "rate": made / (time.perf_counter() - start),
            "peak_mib": _peak_mib(),
            "peak_mib_beyond_imports": _peak_mib() - before,
        }
        if device.type == "cuda":
            answer["peak_gpu_mib"] = torch.cuda.max_memory_allocated() / 2**20
        print(json.dumps(answer), flush=True)


def _peak_mib() -> float:
    # getrusage is of no use here: a new process starts with its parent's peak.
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


@contextmanager
def _runners(ways: list[str], **settings: Any) -> Iterator[list[Runner]]:
    with ExitStack() as ends:
        runners = []
        for way in ways:
            for cores in (CORES, 1):
                runner = Runner(way, cores, **settings)
                ends.callback(runner.end)
                runners.append(runner)
        yield runners


def compare(
    ways: list[str], *, size: int, views: int, folder: Path, rounds: int, seconds: float
) -> list[dict[str, Any]]:
    """Measure each way on ``CORES`` cores and on one; the first row is the baseline."""
    with _runners(ways, size=size, views=views, folder=str(folder)) as runners:
        answers: list[list[dict[str, Any]]] = [[] for _ in runners]
        for _ in range(rounds):
            for runner, given in zip(runners, answers, strict=True):
                given.append(runner.window(seconds))
    baseline = [answer["rate"] for answer in answers[0]]
    rows = []
    for runner, given in zip(runners, answers, strict=True):
        rates = [answer.pop("rate") for answer in given]
        ratios = [rate / other for rate, other in zip(rates, baseline, strict=True)]
        in_workers = runner.way == "pil" or (size == 224 and runner.way != "dali")
        rows.append(
            {
                "backend": runner.way,
                "size": size,
                "views": views,
                "cores": runner.cores,
                "worker_processes": runner.cores if in_workers and runner.cores > 1 else 0,
                "device": "cuda" if torch.cuda.is_available() and runner.way != "pil" else "cpu",
                "crops_per_second": statistics.median(rates),
                "slowest_window": min(rates),
                "fastest_window": max(rates),
                "ratio": statistics.median(ratios),
                "lowest_ratio": min(ratios),
                "highest_ratio": max(ratios),
                **given[-1],
            }
        )
    return rows


def _has_dali() -> bool:
    try:
        import_dali()
    except UserError as error:
        print(f"Without DALI: {error}")
        return False
    return True


def _earlier(path: Path) -> list[dict[str, Any]]:
    """The rows of an earlier result, which must have the same versions and hardware."""
    if not path.exists():
        return []
    result = json.loads(path.read_text())
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    here = {"hardware": environment.hardware(device), "versions": environment.versions()}
    for name, value in here.items():
        if result[name] != value:
            raise UserError(
                f"'{path}' was measured with other {name} ({result[name]} there, {value} here); "
                "leave out --add, or choose another --output."
            )
    rows: list[dict[str, Any]] = result["rows"]
    return rows


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    sizes = sorted(SOURCE_SIZES)
    # On a CPU the compiled operations are not faster, and compiling takes a minute.
    usual = [way for way in WAYS if way != "torch-compiled" or torch.cuda.is_available()]
    parser.add_argument("--sizes", type=int, nargs="+", choices=sizes, default=sizes)
    parser.add_argument("--views", type=int, nargs="+", default=[2, 16, 64])
    parser.add_argument("--backends", nargs="+", choices=WAYS, default=usual)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0, help="length of a window")
    parser.add_argument("--add", action="store_true", help="add to an earlier result file")
    parser.add_argument("--output", type=Path, help="result file (JSON)")
    parser.add_argument("--work", help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    """Measure the sizes, views and backends asked for, print the table and store the result."""
    options = _parse()
    if options.work:
        _work(json.loads(options.work))
        return
    ways = [way for way in options.backends if way != "dali" or _has_dali()]
    ways = ["pil", *(way for way in ways if way != "pil")]
    name = f"crops_{'cuda' if torch.cuda.is_available() else 'cpu'}"
    path = options.output or RESULTS / f"{name}.json"
    with user_errors():
        rows = _earlier(path) if options.add else []
    with tempfile.TemporaryDirectory() as folder:
        write_files(Path(folder))
        for size in options.sizes:
            for views in options.views:
                run = 1 + max(
                    (row["run"] for row in rows if (row["size"], row["views"]) == (size, views)),
                    default=0,
                )
                for row in compare(
                    ways,
                    size=size,
                    views=views,
                    folder=Path(folder),
                    rounds=options.rounds,
                    seconds=options.seconds,
                ):
                    rows.append({"run": run, **row})
                    print(
                        f"{size:3} px, {views:2} views, {row['backend']:14} on {row['cores']} "
                        f"cores: {row['crops_per_second']:9,.0f} crops/s, "
                        f"{row['ratio']:5.2f} x {BASELINE} "
                        f"({row['lowest_ratio']:.2f} to {row['highest_ratio']:.2f}), "
                        f"{row['peak_mib']:6,.0f} MiB",
                        flush=True,
                    )
                # Store after each part, so that an interruption loses only one.
                result = {
                    "benchmark": "crops",
                    "baseline": BASELINE,
                    "rounds": options.rounds,
                    "seconds_per_window": options.seconds,
                    "dali": import_dali().__version__ if "dali" in ways else None,
                    "rows": rows,
                }
                store(name, result, path)
    print(path)


if __name__ == "__main__":
    main()
