"""Shows the progress of a training run: one bar with the time left, and the run's figures."""

import time
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ProgressBar

from solo_adv.methods.run_length import batches_in_all
from solo_adv.support.progress import LINE_EVERY_SECONDS, Bar, duration, open_bar, say

_BATCHES_BETWEEN_READINGS = 20
_BATCHES_TO_MEASURE = 6


class RunProgress(ProgressBar):
    """A live bar on a terminal or in a notebook; elsewhere lines.

    There is a line for each epoch and for each half minute of a long epoch.

    The figures shown are the loss and its terms, the learning rate, the crop passes a second (a
    crop pass is one crop forward and backward; PGD's inner steps count), and the accuracies of the
    online classifier and, if it is enabled, of the online kNN.
    """

    def __init__(self) -> None:
        super().__init__()
        self._bar: Bar | None = None
        self._started = self._last_line = 0.0
        self._passes_at_start = self._batches_at_start = 0
        self._enabled = True
        self._announced = False
        self._first_batch = 0.0

    def disable(self) -> None:
        self._enabled = False

    def enable(self) -> None:
        self._enabled = True

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._started = self._last_line = time.monotonic()
        self._passes_at_start = getattr(pl_module, "crop_passes", 0)
        self._batches_at_start = self._batches_done(trainer)
        if self._enabled:
            self._bar = open_bar(self._batches_in_all(trainer), self._batches_at_start)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        now = time.monotonic()
        self._announce(trainer, now)
        if self._bar is not None:
            if batch_idx % self._every(trainer) == 0 or trainer.is_last_batch:
                self._bar.show(
                    self._batches_done(trainer),
                    self._epoch(trainer),
                    self._figures(trainer, pl_module),
                )
        elif self._enabled and now - self._last_line > LINE_EVERY_SECONDS:
            self._line(trainer, pl_module)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._bar is None and self._enabled:
            self._line(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._stop()

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        self._stop()

    def _stop(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _announce(self, trainer: Trainer, now: float) -> None:
        """Say once how long the run will take, by the batches after the first one."""
        here = self._batches_done(trainer) - self._batches_at_start
        if here == 1:
            self._first_batch = now
        if self._announced or here < _BATCHES_TO_MEASURE or not self._enabled:
            return
        self._announced = True
        left = self._batches_in_all(trainer) - self._batches_done(trainer)
        seconds = (now - self._first_batch) / (here - 1) * left
        if self._bar is None and seconds > LINE_EVERY_SECONDS:
            say(f"Training takes about {duration(seconds)} more, without validation.")

    def _line(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._last_line = time.monotonic()
        done, total = self._batches_done(trainer), self._batches_in_all(trainer)
        here = done - self._batches_at_start
        left = (self._last_line - self._started) / max(1, here) * (total - done)
        say(
            f"{self._epoch(trainer)}  batch {done}/{total}  left {duration(left)}  "
            f"{self._figures(trainer, pl_module)}"
        )

    def _figures(self, trainer: Trainer, pl_module: LightningModule) -> str:
        metrics = {
            name.removesuffix("_step").removeprefix("train_"): value
            for name, value in self.get_metrics(trainer, pl_module).items()
            if name != "v_num" and not name.endswith("_epoch")
        }
        figures = [f"{name} {_short(value)}" for name, value in metrics.items()]
        passes = getattr(pl_module, "crop_passes", None)
        if passes is not None:  # a linear head trains without crops
            seconds = max(1e-9, time.monotonic() - self._started)
            rate = (passes - self._passes_at_start) / seconds
            figures.append(f"{rate:,.0f} crop passes/s")
        return "  ".join(figures)

    @staticmethod
    def _epoch(trainer: Trainer) -> str:
        return f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}"

    @staticmethod
    def _batches_done(trainer: Trainer) -> int:
        return trainer.fit_loop.epoch_loop.total_batch_idx + 1

    @staticmethod
    def _batches_in_all(trainer: Trainer) -> int:
        method = trainer.lightning_module
        known = getattr(method, "total_batches", None)
        return known or batches_in_all(trainer, accumulated=trainer.accumulate_grad_batches)

    @staticmethod
    def _every(trainer: Trainer) -> int:
        # Reading a metric makes Python wait for the GPU.
        return 1 if trainer.strategy.root_device.type == "cpu" else _BATCHES_BETWEEN_READINGS


def _short(value: Any) -> str:
    if not isinstance(value, int | float):
        return str(value)
    return f"{value:.3g}" if abs(value) < 10 else f"{value:.1f}"
