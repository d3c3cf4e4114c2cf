"""Decides when the stand-in host writes checkpoints, and makes sure that they are complete."""

import os
import signal
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from lightning.fabric.plugins.io import TorchCheckpointIO
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from solo_adv.encoders.checkpoint import read_checkpoint
from solo_adv.support.errors import RunStopped, UserError
from solo_adv.support.files import remove, remove_unfinished, write_checked
from solo_adv.training.runs import Run, ends_epoch

_BATCHES_BETWEEN_AGREEMENTS = 20
"""How often several processes agree on whether to save or stop."""


class CheckedCheckpointIO(TorchCheckpointIO):
    """Writes Lightning's checkpoints completely or not at all, and checks what it reads."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None
    ) -> None:
        """Write ``checkpoint`` to ``path``, and its checksum beside it.

        Raises:
            UserError: the disk is full or gone. An older file at ``path`` is then unchanged.
        """
        path = Path(path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_checked(path, lambda file: torch.save(checkpoint, file))
        except OSError as error:
            raise UserError(f"The checkpoint {path} cannot be written: {error}.") from error

    def load_checkpoint(
        self, path: Any, map_location: Any = "cpu", weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Read the checkpoint at ``path``. Nothing in it is executed, whatever the arguments say.

        Raises:
            UserError: the file differs from what was written, or is not a training checkpoint.
        """
        return read_checkpoint(Path(path))


class Checkpointer(Callback):
    """Saves at the end of epochs, every so many minutes, and when the run is told to stop.

    The last epoch is always saved. The last two checkpoints are kept, because the last one may
    become damaged. A finished run keeps only the last one.

    Args:
        run: the run whose directory gets the checkpoints.
        frequency: number of epochs from one checkpoint to the next.
        minutes: a checkpoint is also written between two batches if the last one is this old; None
            writes none between batches.
        keep_prev: whether to keep all checkpoints that were written at the end of an epoch.
    """

    def __init__(
        self,
        run: Run,
        *,
        frequency: int = 1,
        minutes: float | None = None,
        keep_prev: bool = False,
    ) -> None:
        self.run = run
        self.frequency = frequency
        self.minutes = minutes
        self.keep_prev = keep_prev
        self._stop = StopSignals()
        self._last_save = time.monotonic()
        self._last_path: Path | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        # Each process gives a new run a random name; all of them use that of the first process.
        self.run.version = trainer.strategy.broadcast(self.run.version)
        self._stop.listen()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._last_save = time.monotonic()
        if trainer.is_global_zero:
            remove_unfinished(self.run.directory)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.is_last_batch:
            return  # on_train_epoch_end, which comes next, saves if needed
        if not getattr(pl_module, "between_updates", True):
            return  # the batches that wait for an update would be lost
        if _ends(trainer):
            self._save(trainer, self.run.checkpoint_path(trainer.current_epoch, batch_idx + 1))
            return
        if trainer.world_size > 1 and (batch_idx + 1) % _BATCHES_BETWEEN_AGREEMENTS:
            return  # an agreement takes time, so the processes do not agree after every batch
        stop = _any_process(trainer, self._stop.received is not None)
        if stop or _any_process(trainer, self._is_time()):
            check_finite = getattr(pl_module, "check_finite", None)
            if check_finite is not None:
                check_finite()
            self._save(trainer, self.run.checkpoint_path(trainer.current_epoch, batch_idx + 1))
        if stop:
            self._end(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        epoch = trainer.current_epoch
        last = epoch + 1 == trainer.max_epochs or _ends(trainer)
        if not trainer.is_last_batch:  # the run ended within the epoch
            path = self.run.checkpoint_path(epoch, trainer.fit_loop.epoch_loop.batch_idx + 1)
            if path != self._last_path:
                self._save(trainer, path)
            return
        stop = _any_process(trainer, self._stop.received is not None)
        due = (epoch + 1) % self.frequency == 0 or _any_process(trainer, self._is_time())
        if due or last or stop:
            self._save(trainer, self.run.checkpoint_path(epoch))
        if stop and not last:
            self._end(trainer)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._stop.ignore()

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        self._stop.ignore()

    def _save(self, trainer: Trainer, path: Path) -> None:
        trainer.save_checkpoint(path)
        self._last_save, self._last_path = time.monotonic(), path
        if not trainer.is_global_zero:
            return
        finished = path == self.run.checkpoint_path((trainer.max_epochs or 0) - 1) or _ends(trainer)
        for older in self.run.checkpoints()[1 if finished else 2 :]:
            if not (self.keep_prev and ends_epoch(older)):
                remove(older)

    def _is_time(self) -> bool:
        return self.minutes is not None and time.monotonic() - self._last_save > 60 * self.minutes

    def _end(self, trainer: Trainer) -> None:
        _log_now(trainer)
        cause = f"Stopped by {self._stop.received or 'a signal to another process'}."
        if not trainer.is_global_zero:  # only the first process knows what was saved
            raise RunStopped(cause)
        assert self._last_path is not None
        continuing = self.run.how_to_continue(self._last_path)
        raise RunStopped(f"{cause} Saved as {self._last_path}; {continuing} continues it.")


def _log_now(trainer: Trainer) -> None:
    """Let the loggers have the last metrics, which Lightning logs after the callbacks' hooks."""
    connector, loop = trainer._logger_connector, trainer.fit_loop.epoch_loop
    if not trainer.is_last_batch:
        connector.update_train_step_metrics()
        return
    loop._batches_that_stepped -= 1  # as Lightning does, so that the step is that of the last batch
    connector.update_train_epoch_metrics()
    loop._batches_that_stepped += 1


def _ends(trainer: Trainer) -> bool:
    """Whether the run ends after this batch, by ``max_steps``, ``max_time`` or a callback."""
    by_steps = 0 <= trainer.max_steps <= trainer.global_step
    return by_steps or (trainer.should_stop and trainer.fit_loop._can_stop_early)


class StopSignals:
    """Notes the signals that ask a run to stop.

    They are SIGINT (Ctrl-C), and SIGTERM and SIGUSR1, with which clusters announce that they will
    end a process.

    A second signal ends the process at once.

    Attributes:
        received: name of the first signal that came; None before.
    """

    def __init__(self) -> None:
        self.received: str | None = None
        self._before: dict[signal.Signals, Any] = {}

    def listen(self) -> None:
        """Start handling the signals. Outside the main thread this does nothing."""
        if threading.current_thread() is not threading.main_thread():
            return
        for name in ("SIGINT", "SIGTERM", "SIGUSR1"):  # Windows has no SIGUSR1
            number = getattr(signal, name, None)
            if number is not None and number not in self._before:
                self._before[number] = signal.signal(number, self._note)

    def ignore(self) -> None:
        """Restore the handlers that were there before."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.received is None:
            self.received = signal.Signals(number).name
            words = f"{self.received}: saving and stopping after this batch; again ends at once.\n"
            with suppress(OSError):  # print is not safe in a handler
                os.write(2, words.encode())
        else:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)


def _any_process(trainer: Trainer, flag: bool) -> bool:
    """Whether ``flag`` is true in any process. All processes get the same answer."""
    if trainer.world_size == 1:
        return flag
    return bool(trainer.strategy.reduce_boolean_decision(flag, all=False))
