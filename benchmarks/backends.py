"""Accuracy with each crop backend: ``python -m benchmarks.backends``

Pretrains the same small encoder on the digits with every backend and several seeds, and prints the
kNN accuracy on the test digits. Backends that draw the same distribution differ by noise only.
"""

import argparse
import json
import statistics
import tempfile
from pathlib import Path

from benchmarks.accuracy import knn_accuracy, pretrained
from benchmarks.record import store
from solo_adv.crops import BACKENDS
from solo_adv.support.checks import choice
from solo_adv.support.cli import quiet_libraries, user_errors

COMMON = ("data=digits", "crops.num_crops=4", "accelerator=cpu")
CROPS = {
    "torch": ["crops.backend=torch"],
    "torchvision": ["crops.backend=torchvision"],
    "dali": ["data.format=dali"],
}


def main() -> None:
    """Train all, print a line for each backend, store the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backends", nargs="+", default=list(BACKENDS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--output", type=Path, help="result file (JSON)")
    options = parser.parse_args()
    quiet_libraries()
    rows = []
    with user_errors(), tempfile.TemporaryDirectory() as directory:
        for backend in options.backends:
            choice("--backends", backend, BACKENDS)
            found = []
            for seed in options.seeds:
                overrides = [*COMMON, *CROPS[backend], f"max_epochs={options.epochs}"]
                found.append(knn_accuracy(pretrained(overrides, seed, Path(directory))))
            rows.append({"backend": backend, "seeds": options.seeds, "knn_percent": found})
    for row in rows:
        found = row["knn_percent"]
        spread = statistics.stdev(found) if len(found) > 1 else 0.0
        print(
            f"{row['backend']:12} {statistics.mean(found):.1f} +- {spread:.1f}  {json.dumps(found)}"
        )
    result = {"benchmark": "backends", "epochs": options.epochs, "rows": rows}
    print(store("backends_digits", result, options.output))


if __name__ == "__main__":
    main()
