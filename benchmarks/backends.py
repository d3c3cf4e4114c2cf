"""Does it matter for accuracy who makes the crops? ``python -m benchmarks.backends``

Pretrains the same small encoder on the digits with every backend and several seeds, and prints the
kNN accuracy on the test digits. Backends that draw the same distribution differ by noise alone.
"""

import argparse
import json
import statistics
import tempfile
from pathlib import Path

from hydra import compose, initialize_config_module
from omegaconf import OmegaConf

from benchmarks.record import store
from solo_adv.checks import choice
from solo_adv.cli import quiet_libraries, user_errors
from solo_adv.crops import BACKENDS
from solo_adv.main_pretrain import pretrain

CROPS = {
    "torch": ["crops.backend=torch"],
    "torchvision": ["crops.backend=torchvision"],
    "dali": ["data.format=dali"],
}


def accuracy(backend: str, seed: int, epochs: int, directory: Path) -> float:
    """kNN accuracy on the test digits, in percent, after the last epoch."""
    overrides = [
        *("data=digits", f"seed={seed}", f"max_epochs={epochs}", "crops.num_crops=4"),
        *("accelerator=cpu", "auto_resume.enabled=false", f"checkpoint.dir={directory}"),
        *CROPS[backend],
    ]
    with initialize_config_module("solo_adv.conf", version_base="1.3"):
        cfg = compose("cfamc", overrides)
    OmegaConf.set_struct(cfg, False)
    checkpoint = pretrain(cfg)
    assert checkpoint is not None
    header, *rows = (checkpoint.parent / "metrics.csv").read_text().splitlines()
    column = header.split(",").index("val_knn_acc1")
    return float([row.split(",")[column] for row in rows if row.split(",")[column]][-1])


def main() -> None:
    """Train all, print a line for each backend, store the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backends", nargs="+", default=list(BACKENDS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--output", type=Path, help="of the result (JSON)")
    options = parser.parse_args()
    quiet_libraries()
    rows = []
    with user_errors(), tempfile.TemporaryDirectory() as directory:
        for backend in options.backends:
            choice("--backends", backend, BACKENDS)
            found = [
                accuracy(backend, seed, options.epochs, Path(directory)) for seed in options.seeds
            ]
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
