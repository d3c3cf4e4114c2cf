"""Long tests: killed runs, fuzzed inputs, memory (``python -m torture`` or ``make torture``).

The counts are stored after every part in ``benchmarks/results/torture.json``, and a new start
continues from there. ``--minutes`` stops after the part that is running then.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count as numbers
from pathlib import Path
from typing import Any

from benchmarks.record import RESULTS, store
from torture import kills, leaks

ROOT = Path(__file__).parents[1]
STEPS = ("kills", "fuzz", "memory")
EXAMPLES_AT_A_TIME = 500
FUZZ = ("checkpoints", "images", "indexes", "parquet", "configs", "crops", "adversaries")


class Torture:
    """The parts of the test and their record.

    Args:
        arguments: The parsed command line.
    """

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.arguments = arguments
        self.record = _read(arguments.result)
        minutes = arguments.minutes
        self.deadline = None if minutes is None else time.monotonic() + 60 * minutes

    @property
    def time_is_up(self) -> bool:
        return self.deadline is not None and time.monotonic() > self.deadline

    def store(self) -> None:
        store("torture", self.record, self.arguments.result)

    def kill(self) -> str | None:
        """Kill runs until every method has had its share; returns the failures, if any."""
        counts = self.record.setdefault("kills", {})
        moments = random.Random(self.arguments.seed)
        for method in self.arguments.methods:
            if self._kills_left(method) <= 0 or self.time_is_up:
                continue
            with tempfile.TemporaryDirectory() as directory:
                job = kills.Job(method, Path(directory))
                for chain in self._chains(job, moments):
                    count = counts[method] = kills.added(counts.get(method, {}), chain)
                    self.store()
                    print(
                        f"{method}: {_kills(count)} kills, {count['identical']} of them in runs "
                        f"that ended bit-identical, {len(count['failures'])} failures",
                        flush=True,
                    )
        total = sum(map(_kills, counts.values()))
        identical = sum(count.get("identical", 0) for count in counts.values())
        print(f"{identical} of {total} kills: bit-identical final weights and metrics")
        failures = [f for count in counts.values() for f in count.get("failures", [])]
        return "\n".join(failures) if failures or identical != total else None

    def _kills_left(self, method: str) -> int:
        share = -(-self.arguments.kills // len(self.arguments.methods))
        return share - _kills(self.record["kills"].get(method, {}))

    def _chains(self, job: kills.Job, moments: random.Random) -> Iterator[kills.Count]:
        """Run chains of kills, several at a time, until none are left or the time is up."""
        together = self.arguments.jobs
        first = numbers()
        with ThreadPoolExecutor(together) as pool:
            while (left := self._kills_left(job.method)) > 0 and not self.time_is_up:
                most = min(kills.KILLS_BEFORE_THE_END, -(-left // together))
                chains = [
                    pool.submit(job.chain, random.Random(moments.random()), most, next(first))
                    for _ in range(min(together, left))
                ]
                yield from (chain.result() for chain in chains)

    def fuzz(self) -> str | None:
        """Run the tests in ``tests/fuzz`` with many new examples; returns a failure, if any."""
        done = self.record.setdefault("fuzz", {})
        for name in self.arguments.fuzz:
            held = done.setdefault(name, {"examples": 0, "outcomes": {}})
            while held["examples"] < self.arguments.examples and not self.time_is_up:
                more = min(EXAMPLES_AT_A_TIME, self.arguments.examples - held["examples"])
                outcomes = _fuzz(name, more)
                if outcomes is None:
                    return f"An example of {name} failed; pytest printed it."
                for outcome, number in outcomes.items():
                    held["outcomes"][outcome] = held["outcomes"].get(outcome, 0) + number
                held["examples"] = sum(held["outcomes"].values())
                self.store()
                print(f"{name}: {held['examples']} examples, {held['outcomes']}", flush=True)
        return None

    def memory(self) -> str | None:
        """Measure whether the memory of training grows; returns the methods where it does."""
        done = self.record.setdefault("memory", {})
        for method in self.arguments.methods:
            if self.time_is_up or done.get(method, {}).get("steps", 0) >= self.arguments.steps:
                continue
            done[method] = leaks.measure(method, self.arguments.steps)
            self.store()
            print(f"{method}: {leaks.sentence(done[method])}", flush=True)
        grown = [m for m, found in done.items() if found["growth"] >= leaks.MOST_GROWTH]
        return f"Memory grows with {', '.join(grown)}." if grown else None


def main() -> None:
    """Kill, fuzz, and measure memory."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", default=list(STEPS), choices=STEPS)
    parser.add_argument("--kills", type=int, default=200, help="kills of all methods together")
    parser.add_argument("--jobs", type=int, default=2, help="number of runs at the same time")
    parser.add_argument("--fuzz", nargs="+", default=list(FUZZ), choices=FUZZ)
    parser.add_argument("--examples", type=int, default=5000, help="examples in each fuzzing test")
    parser.add_argument("--steps", type=int, default=2000, help="training steps for the memory")
    parser.add_argument("--methods", nargs="+", default=list(kills.METHODS), choices=kills.METHODS)
    parser.add_argument("--minutes", type=float, default=None, help="default: until all is done")
    parser.add_argument(
        "--seed", type=int, default=None, help="seed of the moments of the kills; default: random"
    )
    parser.add_argument("--result", type=Path, default=RESULTS / "torture.json")
    torture = Torture(parser.parse_args())
    work = {"kills": torture.kill, "fuzz": torture.fuzz, "memory": torture.memory}
    failures = [failure for step in torture.arguments.only if (failure := work[step]())]
    if failures:
        raise SystemExit("\n".join(failures))
    if torture.time_is_up:
        print("The time is up; the same command continues.")


def _fuzz(name: str, examples: int) -> dict[str, int] | None:
    """How many examples had which outcome; None if one failed."""
    with tempfile.TemporaryDirectory() as directory:
        counts = Path(directory) / "counts.json"
        long = {"SOLO_ADV_FUZZ": str(examples), "SOLO_ADV_FUZZ_COUNTS": str(counts)}
        command = [sys.executable, "-m", "pytest", "-q", "-k", f"test_{name}", "tests/fuzz"]
        done = subprocess.run(command, cwd=ROOT, env={**os.environ, **long}, check=False)
        if done.returncode:
            return None
        return {key.partition(": ")[2]: number for key, number in _read(counts).items()}


def _kills(count: dict[str, Any]) -> int:
    return int(count.get("sigkill", 0) + count.get("sigterm", 0))


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text()) if path.exists() else {}


if __name__ == "__main__":
    main()
