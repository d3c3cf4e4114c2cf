"""Times training steps, under Lightning in turn with other work, or without Lightning."""

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import repeat
from pathlib import Path
from statistics import median
from typing import Any

import torch
from lightning.pytorch import Callback, Trainer
from omegaconf import DictConfig

from benchmarks.record import device, wait
from solo_adv.cost.rehearsal import RehearsedStep
from solo_adv.host import METHODS
from solo_adv.reproduce.plan import composed
from solo_adv.training.config import parse_cfg

WARMUP = 2

Work = Callable[[], object]


def step_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that :func:`configured` reads."""
    parser.add_argument("--views", type=int, default=16)
    parser.add_argument("--batch", type=int, default=16, help="images in a batch")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--compile", default="none", help="mode of torch.compile")
    parser.add_argument("--graph", default="none", help="replay: each replay is a CUDA graph")
    parser.add_argument("--contiguous", action="store_true", help="NCHW instead of channels_last")
    parser.add_argument("--name", help="name of the file in benchmarks/results, without .json")
    parser.add_argument("--output", type=Path, help="result file (JSON), in place of --name")
    parser.add_argument("overrides", nargs="*", help="config overrides, key=value")


class Repeated:
    """Repeats a batch; not a list, which Lightning would take for several loaders."""

    def __init__(self, batch: list[Any], times: int) -> None:
        self.batch, self.times = batch, times

    def __iter__(self) -> Iterator[list[Any]]:
        return repeat(self.batch, self.times)

    def __len__(self) -> int:
        return self.times


@dataclass
class Rounds(Callback):
    """Times each training batch, and other work between two batches.

    The time of a batch begins at the end of the other work or of the previous batch, and ends with
    Lightning's last hook of the batch, so that it includes Lightning's loop.
    """

    others: dict[str, Work]
    seconds: dict[str, list[float]] = field(default_factory=dict)
    _begun: float = 0.0

    def on_train_start(self, *_: Any) -> None:
        self._begin()

    def on_train_batch_end(self, *_: Any) -> None:
        self._end("ours")
        for name, work in self.others.items():
            self._begin()
            work()
            self._end(name)
        self._begin()

    def _begin(self) -> None:
        wait()
        self._begun = time.perf_counter()

    def _end(self, name: str) -> None:
        wait()
        self.seconds.setdefault(name, []).append(time.perf_counter() - self._begun)

    def of(self, name: str) -> list[float]:
        """The seconds of ``name`` after the warm-up."""
        return self.seconds[name][WARMUP:]

    def ratio(self, one: str, other: str) -> float:
        """Median over the rounds of the time of ``one`` divided by that of ``other``."""
        return median(a / b for a, b in zip(self.of(one), self.of(other), strict=True))


def configured(
    method: str, args: argparse.Namespace, precision: str, overrides: Sequence[str] = ()
) -> DictConfig:
    """The complete config of a method at the benchmark's size."""
    cfg = parse_cfg(
        composed(
            method,
            [
                f"optimizer.batch_size={args.batch}",
                f"crops.num_crops={args.views}",
                "crops=multi_crop",
                f"precision={precision}",
                f"performance.compile={args.compile}",
                f"performance.graph={args.graph}",
                f"performance.disable_channel_last={str(args.contiguous).lower()}",
                "knn_eval.enabled=false",
                "log_every_n_steps=50",
                "max_epochs=1",
                *args.overrides,
                *overrides,
            ],
        )
    )
    cfg.data.num_classes = 10
    return cfg


def build(cfg: DictConfig) -> Any:
    """Build the method on the device, in the memory format of its config."""
    torch.manual_seed(0)
    module = METHODS[cfg.method](cfg).to(device())
    if not cfg.performance.disable_channel_last:
        module = module.to(memory_format=torch.channels_last)
    return module


def run(module: Any, batch: list[Any], repeats: int, others: dict[str, Work]) -> Rounds:
    """Train on a batch repeatedly, with the other work in between."""
    rounds = Rounds(others)
    train(module, batch, WARMUP + repeats, rounds)
    return rounds


def train(module: Any, batch: list[Any], times: int, callback: Callback) -> None:
    """Train on a batch ``times`` times, under a Trainer without logging and checkpoints."""
    trainer = Trainer(
        accelerator=device().type,
        devices=1,
        precision=module.cfg.precision,
        max_epochs=1,
        logger=False,
        callbacks=[callback],
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, Repeated(batch, times))


def batch_of(size: int, side: int = 32) -> list[Any]:
    """A batch as the loaders deliver it: indices, random images of ``side`` pixels, targets."""
    images = torch.randint(0, 256, (size, 3, side, side), dtype=torch.uint8, device=device())
    return [torch.arange(size), [images], torch.zeros(size, dtype=torch.long, device=device())]


def rehearsed(cfg: DictConfig) -> RehearsedStep:
    """The method's step without Lightning, on images."""
    torch.manual_seed(0)
    return RehearsedStep(cfg, cfg.optimizer.batch_size, device=device(), ready_crops=False)


def seconds_in_turn(works: Sequence[Work], repeats: int) -> list[list[float]]:
    """Time the works in turn, ``repeats`` times after a warm-up; seconds of each."""
    seconds: list[list[float]] = [[] for _ in works]
    for number in range(WARMUP + repeats):
        for work, taken in zip(works, seconds, strict=True):
            wait()
            begun = time.perf_counter()
            work()
            wait()
            if number >= WARMUP:
                taken.append(time.perf_counter() - begun)
    return seconds
