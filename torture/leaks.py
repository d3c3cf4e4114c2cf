"""Measures whether the memory of training grows: ``python -m torture.leaks METHOD STEPS``.

It trains the job of ``torture.kills`` for that many batches, with validation and checkpoints.
"""

import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

from solo_adv.methods import AdversarialMethod
from torture import kills

ROOT = Path(__file__).parents[1]
BATCHES = 8  # in an epoch of the job
READINGS = 40
MOST_GROWTH = 0.01


def measure(method: str, steps: int) -> dict[str, Any]:
    """Train in a process of its own; see :func:`train`."""
    command = [sys.executable, "-m", "torture.leaks", method, str(steps)]
    with tempfile.TemporaryDirectory() as directory:
        done = subprocess.run(
            [*command, directory], cwd=ROOT, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise RuntimeError(done.stderr)
        found: dict[str, Any] = json.loads((Path(directory) / "memory.json").read_text())
    return found


def sentence(found: dict[str, Any]) -> str:
    """Describe a measurement in words."""
    return (
        f"{found['growth']:+.2%} over {found['steps']} steps "
        f"({found['early_mib']:.1f} to {found['late_mib']:.1f} MiB)"
    )


def train(method: str, steps: int, directory: Path) -> dict[str, Any]:
    """Train, and compare the memory in the last tenth of the run with that in the second tenth.

    Returns:
        ``steps``; the medians ``early_mib`` and ``late_mib`` of the process's resident memory in
        the second and the last tenth of the run; their relative ``growth``; all ``readings_mib``.
    """
    readings: list[float] = []
    end = AdversarialMethod.on_train_batch_end

    def read(self: Any, *arguments: Any) -> None:
        end(self, *arguments)
        step = self.trainer.fit_loop.total_batch_idx + 1
        if step % max(1, steps // READINGS) == 0:
            readings.append(_resident_mib())

    AdversarialMethod.on_train_batch_end = read  # type: ignore[method-assign]
    epochs = -(-steps // BATCHES)
    kills.pretrain(directory, method, [f"max_epochs={epochs}", "checkpoint.minutes=null"])
    tenth = len(readings) // 10
    early = statistics.median(readings[tenth : 2 * tenth])
    late = statistics.median(readings[-tenth:])
    return {
        "steps": epochs * BATCHES,
        "early_mib": early,
        "late_mib": late,
        "growth": late / early - 1,
        "readings_mib": [round(reading, 1) for reading in readings],
    }


def _resident_mib() -> float:
    (line,) = [r for r in Path("/proc/self/status").read_text().splitlines() if "VmRSS" in r]
    return int(line.split()[1]) / 1024


if __name__ == "__main__":
    torch.set_num_threads(1)
    place = Path(sys.argv[3] if len(sys.argv) > 3 else tempfile.mkdtemp())
    result = train(sys.argv[1], int(sys.argv[2]), place)
    (place / "memory.json").write_text(json.dumps(result))
    print(sentence(result))
