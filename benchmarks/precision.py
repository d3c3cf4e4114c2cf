"""Does bfloat16 pay, and does it hurt? ``python -m benchmarks.precision [key=value ...]``

Pretrains the same encoder in ``32-true`` and in ``bf16-mixed`` with several seeds, in turn, and
compares time, kNN accuracy, and clean and robust accuracy of a standard linear head; evaluation is
in float32. Without overrides of the config: CF-AMC-SSL on the digits.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.accuracy import knn_accuracy, pretrained, report_of
from benchmarks.record import store
from solo_adv.support.cli import quiet_libraries, user_errors

PRECISIONS = ("32-true", "bf16-mixed")
DIGITS = ("data=digits", "crops.num_crops=4", "max_epochs=3")
JUDGED = ("max_images=500", "alarm_images=0", "epsilons=[8/255]", "features=backbone")


def measure(overrides: list[str], precision: str, seed: int, directory: Path) -> dict[str, float]:
    """One run: seconds of pretraining, accuracies in percent."""
    begun = time.perf_counter()
    checkpoint = pretrained([*overrides, f"precision={precision}"], seed, directory)
    seconds = time.perf_counter() - begun
    report = report_of(checkpoint, JUDGED)
    return {
        "seconds": seconds,
        "knn": knn_accuracy(checkpoint),
        "clean": 100 * report.clean,
        "pgd_20_at_8": 100 * report.attacks[0].accuracy,
    }


def main() -> None:
    """Train all, print means and deviations, store the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--name", default="digits", help="of the result file: precision_NAME.json")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--output", type=Path, help="of the result (JSON)")
    parser.add_argument("overrides", nargs="*", help="of the pretraining config, key=value")
    options = parser.parse_args()
    overrides = options.overrides or list(DIGITS)
    quiet_libraries()
    runs: dict[str, list[dict[str, float]]] = {precision: [] for precision in PRECISIONS}
    with user_errors(), tempfile.TemporaryDirectory() as directory:
        for seed in options.seeds:
            for precision in PRECISIONS:
                runs[precision].append(measure(overrides, precision, seed, Path(directory)))
    rows: list[dict[str, Any]] = []
    for precision, found in runs.items():
        rows.append({"precision": precision, "seeds": options.seeds, "runs": found})
        figures = [f"{name} {_spread([run[name] for run in found])}" for name in found[0]]
        print(f"{precision:10} {'  '.join(figures)}")
    faster = statistics.median(
        one["seconds"] / other["seconds"] for one, other in zip(*runs.values(), strict=True)
    )
    print(f"bf16-mixed is {faster:.2f} times faster")
    data = [item for item in overrides if "path" not in item]  # paths are of one machine
    result = {"benchmark": "precision", "overrides": data, "times_faster": faster, "rows": rows}
    print(store(f"precision_{options.name}", result, options.output))


def _spread(values: list[float]) -> str:
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{statistics.mean(values):.1f} +- {deviation:.1f}"


if __name__ == "__main__":
    main()
