"""Runs on disk, as solo-learn lays them out, and the way back to an unfinished one.

``<checkpoint.dir>/<method>/<version>/<name>-<version>-ep=N.ckpt`` with ``args.json`` beside it.
"""

import json
import secrets
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from omegaconf import DictConfig

from solo_adv.errors import UserError
from solo_adv.methods.settings import plain

# What may differ between a run and its continuation without changing the result.
_NOT_PART_OF_THE_RESULT = (
    *("checkpoint", "auto_resume", "wandb", "tensorboard"),
    *("accelerator", "log_every_n_steps", "resume_from_checkpoint"),
)
_NOT_PART_OF_THE_DATA = (
    *("num_workers", "download", "resident", "max_resident_gib"),
    "num_classes",  # known once the data are read
)


class Run:
    """The directory of one run.

    Args:
        cfg: complete config.
        version: name of the directory below the method's; a new one if None.
    """

    def __init__(self, cfg: DictConfig, version: str | None = None) -> None:
        self.cfg = cfg
        self.version = version or f"offline-{secrets.token_hex(4)}"
        self.directory = Path(cfg.checkpoint.dir) / cfg.method / self.version

    def create(self) -> None:
        """Make the directory and write the config into it.

        Raises:
            UserError: it cannot be written.
        """
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            (self.directory / "args.json").write_text(json.dumps(plain(self.cfg), indent=2))
        except OSError as error:
            raise UserError(
                f"checkpoint.dir={self.cfg.checkpoint.dir} cannot be written: {error}. "
                "Choose another with checkpoint.dir=DIR."
            ) from error

    def checkpoint_path(self, epoch: int) -> Path:
        """Where the checkpoint after ``epoch`` (counted from 0) lies."""
        return self.directory / f"{self.cfg.name}-{self.version}-ep={epoch}.ckpt"

    def last_checkpoint(self) -> Path | None:
        """The newest checkpoint in the directory."""
        return max(self.directory.glob("*.ckpt"), key=_epoch_of, default=None)


class Checkpointer(Callback):
    """Saves every ``frequency`` epochs and always after the last one; keeps only the newest.

    Args:
        run: where to.
        frequency: epochs between checkpoints.
        keep_prev: keep the older ones too.
    """

    def __init__(self, run: Run, *, frequency: int = 1, keep_prev: bool = False) -> None:
        self.run = run
        self.frequency = frequency
        self.keep_prev = keep_prev

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        epoch = trainer.current_epoch
        if (epoch + 1) % self.frequency == 0 or epoch + 1 == trainer.max_epochs:
            previous = self.run.last_checkpoint()
            path = self.run.checkpoint_path(epoch)
            trainer.save_checkpoint(path)
            if trainer.is_global_zero and previous not in (None, path) and not self.keep_prev:
                assert previous is not None
                previous.unlink(missing_ok=True)


def find_unfinished(cfg: DictConfig) -> Run | None:
    """The newest unfinished run of the same config, not older than ``auto_resume.max_hours``.

    Anything that changes the result must agree: a run with another epsilon is another run.
    """
    oldest = (datetime.now() - timedelta(hours=cfg.auto_resume.max_hours)).timestamp()
    for run, checkpoint in _runs_of(cfg):
        if _epoch_of(checkpoint) + 1 < cfg.max_epochs and checkpoint.stat().st_mtime >= oldest:
            return run
    return None


def find_finished(cfg: DictConfig) -> Path | None:
    """The last checkpoint of the newest finished run of the same config."""
    for _, checkpoint in _runs_of(cfg):
        if is_finished(checkpoint, cfg):
            return checkpoint
    return None


def _runs_of(cfg: DictConfig) -> list[tuple[Run, Path]]:
    """Runs of the same config that have a checkpoint, and the checkpoints; newest first."""
    wanted = comparable(plain(cfg))
    found = []
    for args in (Path(cfg.checkpoint.dir) / cfg.method).glob("*/args.json"):
        run = Run(cfg, version=args.parent.name)
        checkpoint = run.last_checkpoint()
        try:
            saved = json.loads(args.read_text())
        except (OSError, ValueError):
            continue
        if checkpoint is not None and comparable(saved) == wanted:
            found.append((run, checkpoint))
    return sorted(found, key=lambda pair: pair[1].stat().st_mtime, reverse=True)


def is_finished(checkpoint: Path, config: Mapping[str, Any]) -> bool:
    """Whether a checkpoint is of the last epoch that its config asks for."""
    return bool(_epoch_of(checkpoint) + 1 >= config["max_epochs"])


def comparable(config: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that the result depends on, in plain values as JSON holds them."""
    kept = {k: v for k, v in config.items() if k not in _NOT_PART_OF_THE_RESULT}
    kept["data"] = {k: v for k, v in kept["data"].items() if k not in _NOT_PART_OF_THE_DATA}
    # Through JSON, so that tuples and numbers compare as they were written.
    held: dict[str, Any] = json.loads(json.dumps(kept))
    return held


def _epoch_of(checkpoint: Path) -> int:
    number = checkpoint.stem.rpartition("ep=")[2]
    return int(number) if number.isdigit() else -1
