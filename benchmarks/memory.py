"""Memory of a training step, predicted and measured: ``python -m benchmarks.memory``

Each line has two measurements, each in a process of its own: the whole step under Lightning, and a
forward and backward pass of the bare network on as many ready crops. On a CPU the memory is the
growth of the process's resident memory since before the model was built; on a GPU it is the
allocator's peak.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, Trainer
from omegaconf import DictConfig

from benchmarks.record import store
from benchmarks.running import train
from solo_adv.cost import Network, step_memory
from solo_adv.cost.network import autocast
from solo_adv.host import METHODS
from solo_adv.reproduce.plan import composed
from solo_adv.support.cli import quiet_libraries, user_errors
from solo_adv.training.config import parse_cfg

STEPS = 2
CASES = [  # method, images, crops of each, precision
    ("cfamc", 8, 16, "32-true"),
    ("cfamc", 16, 16, "32-true"),
    ("cfamc", 32, 16, "32-true"),
    ("cfamc", 32, 16, "bf16-mixed"),
    ("robust_emp", 16, 16, "32-true"),
    ("emp_ssl", 16, 16, "32-true"),
    ("emp_ssl", 32, 16, "bf16-mixed"),
    ("simclr_freeadv", 128, 2, "32-true"),
]
# Larger tensors get a memory mapping of their own, which is returned to the system when they are
# freed. Otherwise the C library's caching would determine the peak.
_MALLOC = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_ARENA_MAX": "1"}


def configured(method: str, batch: int, views: int, precision: str, extra: list[str]) -> DictConfig:
    """The complete config of a case."""
    sizes = [f"optimizer.batch_size={batch}", f"crops.num_crops={views}"]
    rest = [f"precision={precision}", "max_epochs=1", "knn_eval.enabled=false", *extra]
    rest.append("performance.keep_freed_memory=false")
    cfg = parse_cfg(composed(method, [*sizes, *rest]))
    cfg.data.num_classes = 10
    return cfg


def measure(what: str, case: dict[str, Any]) -> int:
    """Bytes of ``step``, the whole training step, or of ``network``, forward and backward only."""
    quiet_libraries()
    cfg = configured(**case)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    _load_libraries(cfg, device)
    before = _restart_peak(device)
    (_train if what == "step" else _passes)(cfg, device)
    return _peak(device) - before


class _PeakOfTheLastSteps(Callback):
    """Leaves out the first step, like the prediction."""

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def on_train_batch_start(self, trainer: Trainer, *_: Any) -> None:
        if trainer.global_step:
            _restart_peak(self.device)


def _train(cfg: DictConfig, device: torch.device) -> None:
    method = METHODS[cfg.method](cfg)
    if not cfg.performance.disable_channel_last:
        method = method.to(memory_format=torch.channels_last)
    size, batch = cfg.crops.size, cfg.optimizer.batch_size
    images = torch.randint(0, 256, (batch, 3, size, size), dtype=torch.uint8)
    ready = [torch.arange(batch), [images], torch.zeros(batch, dtype=torch.long)]
    train(method, ready, STEPS, _PeakOfTheLastSteps(device))


def _passes(cfg: DictConfig, device: torch.device) -> None:
    network = Network.of(cfg).build().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    count, size = cfg.optimizer.batch_size * cfg.crops.num_crops, cfg.crops.size
    crops = torch.rand(count, 3, size, size, device=device)
    crops = crops.contiguous(memory_format=torch.channels_last)
    for _ in range(STEPS):
        network.zero_grad()
        with autocast(cfg.precision, device):
            embeddings = network(crops)
        embeddings.float().square().mean().backward()


def _load_libraries(cfg: DictConfig, device: torch.device) -> None:
    """Make the libraries load and allocate what they need for any model."""
    small = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.BatchNorm2d(8)).to(device)
    with autocast(cfg.precision, device):
        small(torch.rand(2, 3, 8, 8, device=device)).float().sum().backward()


def _restart_peak(device: torch.device) -> int:
    """Reset the peak to the memory in use now, and return that in bytes."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated()
    Path("/proc/self/clear_refs").write_text("5")
    return _status("VmRSS")


def _peak(device: torch.device) -> int:
    return torch.cuda.max_memory_allocated() if device.type == "cuda" else _status("VmHWM")


def _status(field: str) -> int:
    text = Path("/proc/self/status").read_text()
    return int(text.partition(f"{field}:")[2].split()[0]) * 1024


def _in_new_process(what: str, case: dict[str, Any]) -> int:
    command = [sys.executable, "-m", "benchmarks.memory", "--one", json.dumps([what, case])]
    done = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, **_MALLOC}, check=False
    )
    if done.returncode:
        raise SystemExit(f"{what} of {case} failed:\n{done.stderr}")
    return int(done.stdout.splitlines()[-1])


def main() -> None:
    """Measure and predict every case, print the table and store the result."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--methods", nargs="+", help="only cases of these methods")
    parser.add_argument(
        "--batch", type=int, nargs="+", help="images in a batch, instead of those of the cases"
    )
    parser.add_argument("--output", type=Path, help="result file (JSON)")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("overrides", nargs="*", help="config overrides, key=value")
    args = parser.parse_args()
    if args.one:
        print(measure(*json.loads(args.one)))
        return
    quiet_libraries()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    rows = []
    for method, batch, views, precision in CASES:
        if args.methods and method not in args.methods:
            continue
        for images in args.batch or [batch]:
            case = {
                "method": method,
                "batch": images,
                "views": views,
                "precision": precision,
                "extra": args.overrides,
            }
            with user_errors():
                predicted = step_memory(configured(**case)).peak
            measured, network = (_in_new_process(what, case) for what in ("step", "network"))
            row = {
                **case,
                "predicted_bytes": predicted,
                "measured_bytes": measured,
                "network_bytes": network,
                "predicted_to_measured": predicted / measured,
                "step_to_network": measured / network,
            }
            rows.append(row)
            print(
                f"{method} {precision} {images} x {views}: predicted {predicted / 2**20:,.0f} MiB, "
                f"measured {measured / 2**20:,.0f} MiB ({row['predicted_to_measured']:.3f}), "
                f"network alone {network / 2**20:,.0f} MiB (step {row['step_to_network']:.3f} x)",
                flush=True,
            )
            # Store after each case, because each takes a while.
            file = store(f"memory_{device}", {"benchmark": "memory", "rows": rows}, args.output)
    print(file if rows else "no case is left")


if __name__ == "__main__":
    main()
