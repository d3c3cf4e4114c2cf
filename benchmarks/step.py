"""A training step against the naive way and the bare network: ``python -m benchmarks.step``.

Three times of the same work, in one run: the *floor*, forward and backward of the network on ready
crops, as often as the method passes them; *ours*, the whole step under Lightning with the crops
drawn, attacked and learnt from; and the *naive* way (``benchmarks/naive.py``) on ready crops.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from itertools import repeat
from statistics import median
from typing import Any

import torch
from lightning.pytorch import Callback, Trainer
from omegaconf import DictConfig
from torch import Tensor

from benchmarks.naive import NaiveStep
from benchmarks.record import median_seconds, store, wait
from solo_adv.config import parse_cfg
from solo_adv.host import METHODS
from solo_adv.reproduce.plan import composed

NAIVE_METHODS = ("emp_ssl", "robust_emp", "cfamc")
WARMUP = 2


class Repeated:
    """The same batch, some times over; Lightning would take a list for several loaders."""

    def __init__(self, batch: list[Any], times: int) -> None:
        self.batch, self.times = batch, times

    def __iter__(self) -> Iterator[list[Any]]:
        return repeat(self.batch, self.times)

    def __len__(self) -> int:
        return self.times


class StepTimes(Callback):
    """Seconds of each training batch, from Lightning's first hook to its last."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self._begun = 0.0

    def on_train_batch_start(self, *_: Any) -> None:
        wait()
        self._begun = time.perf_counter()

    def on_train_batch_end(self, *_: Any) -> None:
        wait()
        self.seconds.append(time.perf_counter() - self._begun)


def configured(method: str, args: argparse.Namespace, precision: str) -> DictConfig:
    """The complete config of a method at the benchmark's size."""
    return parse_cfg(
        composed(
            method,
            [
                f"optimizer.batch_size={args.batch}",
                f"crops.num_crops={args.views}",
                "crops=multi_crop",
                f"precision={precision}",
                "knn_eval.enabled=false",
                "max_epochs=1",
                f"+performance.disable_channel_last={str(args.contiguous).lower()}",
                *args.overrides,
            ],
        )
    )


def measure(method: str, args: argparse.Namespace, precision: str) -> dict[str, Any]:
    """One row of the table."""
    torch.manual_seed(0)
    cfg = configured(method, args, precision)
    cfg.data.num_classes = 10
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    module = METHODS[method](cfg).to(device)
    if not args.contiguous:
        module = module.to(memory_format=torch.channels_last)
    images = torch.randint(0, 256, (args.batch, 3, 32, 32), dtype=torch.uint8, device=device)
    batch = [torch.arange(args.batch), [images], torch.zeros(args.batch, dtype=torch.long)]
    passes = module.adversary.replays + module.adversary.crafting_passes
    repeats = args.repeats

    floor = passes * median_seconds(_pass_of(module, images, precision), repeats=repeats)
    crops = median_seconds(lambda: module.crops(images), repeats=repeats)
    times = StepTimes()
    trainer = Trainer(
        accelerator=device.type,
        devices=1,
        precision=precision,  # type: ignore[arg-type]
        max_steps=-1,
        max_epochs=1,
        logger=False,
        callbacks=[times],
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, Repeated(batch, WARMUP + repeats))
    module.to(device)
    ours = median(times.seconds[WARMUP:])
    row = {
        "method": method,
        "precision": precision,
        "views": args.views,
        "batch": args.batch,
        "crop_passes": passes * args.views * args.batch,
        "floor_seconds": floor,
        "crops_seconds": crops,
        "ours_seconds": ours,
        "ours_to_floor": ours / floor,
        "crop_passes_per_second": passes * args.views * args.batch / ours,
    }
    if method in NAIVE_METHODS:
        module = module.to(memory_format=torch.contiguous_format)
        ready = module.crops(images).contiguous()
        step = NaiveStep(
            lambda pixels: module.projector(module.backbone(pixels))[1],
            [*module.backbone.parameters(), *module.projector.parameters()],
            views=args.views,
            replays=module.adversary.replays,
            steps=module.adversary.crafting_passes,
        )
        row["naive_seconds"] = median_seconds(lambda: step(ready), repeats=repeats)
        row["naive_to_ours"] = row["naive_seconds"] / ours
    return row


def _pass_of(module: Any, images: Tensor, precision: str) -> Callable[[], None]:
    """Forward and backward of the network that is trained, on ready crops."""
    crops = module.crops(images)
    cast = (
        torch.autocast(images.device.type, dtype=torch.bfloat16)
        if precision.startswith("bf16")
        else nullcontext()
    )

    def work() -> None:
        module.zero_grad()
        with cast:
            z = module.projector(module.backbone(crops))[1]
        z.float().square().mean().backward()

    return work


def main() -> None:
    """Measure the methods asked for, print the table, store the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--methods", nargs="+", default=["emp_ssl", "robust_emp", "cfamc"])
    parser.add_argument("--precisions", nargs="+", default=["32-true"])
    parser.add_argument("--views", type=int, default=16)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--contiguous", action="store_true", help="NCHW in place of channels_last")
    parser.add_argument("--output", help="name of the result file, without .json")
    parser.add_argument("overrides", nargs="*", help="of the config, key=value")
    args = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    print(f"Training step, {device}, medians of {args.repeats}, V={args.views} B={args.batch}")
    rows = []
    for precision in args.precisions:
        for method in args.methods:
            row = measure(method, args, precision)
            rows.append(row)
            naive = f", naive {row['naive_to_ours']:.2f} x ours" if "naive_to_ours" in row else ""
            print(
                f"{method} {precision}: {row['ours_seconds']:.3f} s, "
                f"{row['crop_passes_per_second']:.0f} crop passes/s, "
                f"{row['ours_to_floor']:.3f} x floor, crops {row['crops_seconds']:.3f} s{naive}",
                flush=True,
            )
    result = {"benchmark": "step", "overrides": args.overrides, "rows": rows}
    print(store(args.output or f"step_{device}", result))


if __name__ == "__main__":
    main()
