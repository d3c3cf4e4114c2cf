"""Long tests of what must not be lost: ``python -m benchmarks.torture`` (``make torture``).

Counts are stored after every step in ``benchmarks/results/torture.json``; started again, it
continues from there.
"""

import argparse
import json
import random
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import kills
from benchmarks.record import RESULTS, store


def main() -> None:
    """Kill runs until every method has had its share."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200, help="of all methods together")
    parser.add_argument("--methods", nargs="+", default=list(kills.METHODS), choices=kills.METHODS)
    parser.add_argument("--seed", type=int, default=None, help="of the moments; default: new ones")
    parser.add_argument("--result", type=Path, default=RESULTS / "torture.json")
    arguments = parser.parse_args()

    record = _read(arguments.result)
    _kill(record, arguments)


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


def _kills(count: dict[str, Any]) -> int:
    return int(count.get("sigkill", 0) + count.get("sigterm", 0))


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text()) if path.exists() else {}


if __name__ == "__main__":
    main()
