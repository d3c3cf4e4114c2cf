"""Timing and result files, shared by all benchmarks."""

import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch

from solo_adv.support import environment
from solo_adv.support.files import write_whole

RESULTS = Path(os.environ.get("BENCHMARK_RESULTS") or Path(__file__).parent / "results")
"""Directory of the result files; a rehearsal sets the variable."""


def median_seconds(work: Callable[[], object], *, repeats: int = 7, warmup: int = 2) -> float:
    """Median time of ``work`` over ``repeats`` runs after ``warmup`` unmeasured ones."""
    for _ in range(warmup):
        work()
    seconds = []
    for _ in range(repeats):
        wait()
        start = time.perf_counter()
        work()
        wait()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def ratios(
    ours: Callable[[], object],
    naive: Callable[[], object],
    floor: Callable[[], object],
    *,
    repeats: int,
) -> dict[str, float]:
    """Median seconds of the three versions, and their ratios."""
    floor_seconds, ours_seconds, naive_seconds = (
        median_seconds(work, repeats=repeats, warmup=1) for work in (floor, ours, naive)
    )
    return {
        "floor_seconds": floor_seconds,
        "ours_seconds": ours_seconds,
        "naive_seconds": naive_seconds,
        "ours_to_floor": ours_seconds / floor_seconds,
        "naive_to_ours": naive_seconds / ours_seconds,
    }


def store(name: str, result: dict[str, Any], path: Path | None = None) -> Path:
    """Write ``path`` or ``<name>.json`` in ``RESULTS``, with hardware, versions and date."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    record = {
        **result,
        "hardware": environment.hardware(device),
        "threads": torch.get_num_threads(),
        "versions": environment.versions(),
        "python": platform.python_version(),
        "git_commit": environment.git_commit(),
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }
    path = path or RESULTS / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, json.dumps(record, indent=2) + "\n")
    return path


def device() -> torch.device:
    """The GPU, if there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def wait() -> None:
    """Wait for the GPU, if there is one, to finish its work."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
