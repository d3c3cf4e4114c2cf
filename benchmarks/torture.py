"""Long tests of what must not be lost: ``python -m benchmarks.torture`` (``make torture``).

Counts are stored after every step in ``benchmarks/results/torture.json``; started again, it
continues from there.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import kills
from benchmarks.record import RESULTS, store

ROOT = Path(__file__).parents[1]


def main() -> None:
    """Kill runs until every method has had its share, then fuzz."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200, help="of all methods together")
    parser.add_argument("--examples", type=int, default=5000, help="of each fuzzing test")
    parser.add_argument("--methods", nargs="+", default=list(kills.METHODS), choices=kills.METHODS)
    parser.add_argument("--seed", type=int, default=None, help="of the moments; default: new ones")
    parser.add_argument("--result", type=Path, default=RESULTS / "torture.json")
    arguments = parser.parse_args()

    record = _read(arguments.result)
    _kill(record, arguments)
    _fuzz(record, arguments)


def _kill(record: dict[str, Any], arguments: argparse.Namespace) -> None:
    counts = record.setdefault("kills", {})
    moments = random.Random(arguments.seed)
    share = -(-arguments.kills // len(arguments.methods))
    with tempfile.TemporaryDirectory() as directory:
        for method in arguments.methods:
            count = counts.setdefault(method, {})
            if _kills(count) >= share:
                continue
            job = kills.Job(method, Path(directory) / method)
            while _kills(count) < share:
                most = min(kills.KILLS_BEFORE_THE_END, share - _kills(count))
                chain = job.chain(moments, most, first=_kills(count))
                count = counts[method] = kills.added(count, chain)
                store("torture", record, arguments.result)
                print(
                    f"{method}: {_kills(count)} kills, {count['identical']} of them in runs that "
                    f"ended bit-identical, {len(count['failures'])} failures",
                    flush=True,
                )
    total = sum(map(_kills, counts.values()))
    identical = sum(count["identical"] for count in counts.values())
    print(f"{identical} of {total} kills: bit-identical final weights")
    if identical != total:
        raise SystemExit("\n".join(f for count in counts.values() for f in count["failures"]))


def _fuzz(record: dict[str, Any], arguments: argparse.Namespace) -> None:
    """Run the tests in ``tests/fuzz`` with many examples, drawn anew."""
    if record.get("fuzz", {}).get("examples", 0) >= arguments.examples or not arguments.examples:
        return
    with tempfile.TemporaryDirectory() as directory:
        counts = Path(directory) / "counts.json"
        long = {"SOLO_ADV_FUZZ": str(arguments.examples), "SOLO_ADV_FUZZ_COUNTS": str(counts)}
        command = [sys.executable, "-m", "pytest", "-q", "tests/fuzz"]
        done = subprocess.run(command, cwd=ROOT, env={**os.environ, **long}, check=False)
        record["fuzz"] = {
            "examples": arguments.examples,
            "outcomes": _read(counts),
            "passed": done.returncode == 0,
        }
    store("torture", record, arguments.result)
    print(json.dumps(record["fuzz"], indent=2))
    if done.returncode:
        raise SystemExit("An example failed; pytest printed it.")


def _kills(count: dict[str, Any]) -> int:
    return int(count.get("sigkill", 0) + count.get("sigterm", 0))


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text()) if path.exists() else {}


if __name__ == "__main__":
    main()
