"""Time and accuracy with bfloat16: ``python -m benchmarks.precision [key=value ...]``

Pretrains the same encoder alternately in ``32-true`` and ``bf16-mixed`` with several seeds, and
compares the time, the kNN accuracy, and the clean and robust accuracy of a standard linear head,
evaluated in float32. Without overrides of the config it trains CF-AMC-SSL on the digits.
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
    """Pretrain and evaluate once; returns the seconds and the accuracies in percent."""
    begun = time.perf_counter()
    checkpoint = pretrained([*overrides, f"precision={precision}"], seed, directory)
    seconds = time.perf_counter() - begun
    report = report_of(checkpoint, JUDGED)
    return {
        "seconds": seconds,
        "knn": knn_accuracy(checkpoint),
        "clean": 100 * report.by_label["clean"].accuracy,
        "pgd_20_at_8": 100 * report.attacks[0].accuracy,
    }


def main() -> None:
    """Train all runs, print means and deviations, and store the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--name", default="digits", help="the result file is precision_NAME.json")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--output", type=Path, help="result file (JSON)")
    parser.add_argument("overrides", nargs="*", help="overrides of the pretraining, key=value")
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
    data = [
        item for item in overrides if "path" not in item
    ]  # paths mean nothing on another machine
    result = {"benchmark": "precision", "overrides": data, "times_faster": faster, "rows": rows}
    print(store(f"precision_{options.name}", result, options.output))


def _spread(values: list[float]) -> str:
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{statistics.mean(values):.1f} +- {deviation:.1f}"


if __name__ == "__main__":
    main()
