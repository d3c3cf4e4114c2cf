"""Builds the loggers of a run."""

import csv
import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger, WandbLogger
from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig
from torch import Tensor

from solo_adv.support.errors import UserError
from solo_adv.support.files import write_whole
from solo_adv.support.settings import plain
from solo_adv.training.objects import built_objects
from solo_adv.training.runs import Run


class RunLog(CSVLogger):
    """Writes ``metrics.csv``, and continues that of an earlier part of the run.

    Rows of steps that are trained again, because they were done after the last checkpoint, are
    dropped.
    """

    def __init__(self, directory: Path) -> None:
        self._file = directory / "metrics.csv"
        earlier = _rows(self._file)
        super().__init__(save_dir=directory, name="", version="")
        self._earlier: list[dict[str, str]] = []
        self._keep(earlier)

    @rank_zero_only
    def log_metrics(self, metrics: Any, step: int | None = None) -> None:
        """Append the metrics of a step."""
        if self._earlier and step is not None:
            self._keep([row for row in self._earlier if int(row["step"]) < step])
            self._earlier = []
        super().log_metrics(metrics, step)

    @rank_zero_only
    def _keep(self, rows: list[dict[str, str]]) -> None:
        writer = self.experiment  # Lightning deletes the file when it makes this
        self._earlier = rows
        if not rows:
            self._file.unlink(missing_ok=True)
            writer.metrics_keys = []
            return
        text = io.StringIO(newline="")
        table = csv.DictWriter(text, list(rows[0]))
        table.writeheader()
        table.writerows(rows)
        write_whole(self._file, text.getvalue())
        writer.metrics_keys = list(rows[0])


@rank_zero_only
def close(loggers: Iterable[Logger]) -> None:
    """End W&B's runs, because another run of this process would otherwise log into them."""
    for logger in loggers:
        if isinstance(logger, WandbLogger):
            logger.experiment.finish()


def _rows(file: Path) -> list[dict[str, str]]:
    """The rows of an earlier log that are whole."""
    if not file.exists():
        return []
    with file.open(encoding="utf-8", newline="") as text:
        return [row for row in csv.DictReader(text) if (row.get("step") or "").isdigit()]


def build_loggers(cfg: DictConfig, run: Run) -> list[Logger]:
    """Build the logger that writes ``metrics.csv`` and those that the config names or enables.

    ``logger=false`` builds none.

    Raises:
        UserError: a logger is not installed or cannot be reached.
    """
    named = plain(cfg.get("logger"))
    if named is False:
        return []
    place: dict[str, Any] = {"save_dir": run.directory, "name": "", "version": ""}
    loggers: list[Logger] = [RunLog(run.directory), *built_objects("logger", named)]
    try:
        if cfg.tensorboard.enabled:
            loggers.append(TensorBoardLogger(**place))
        if cfg.wandb.enabled:
            wandb = WandbLogger(
                name=cfg.name,
                project=cfg.wandb.project,
                entity=cfg.wandb.entity,
                offline=cfg.wandb.offline,
                id=run.version,
                resume="allow",
                save_dir=run.directory,
            )
            wandb.log_hyperparams(plain(cfg))
            loggers.append(wandb)
    except ModuleNotFoundError as error:
        raise UserError(
            f"{error} Install it with pip install 'solo-adv[tensorboard]' or 'solo-adv[wandb]'."
        ) from error
    except Exception as error:  # wandb raises many types of its own
        reason = " ".join(str(error).split())
        raise UserError(
            f"wandb cannot be used: {reason}. wandb.offline=true keeps the log on disk, to be sent "
            "later with wandb sync; wandb.enabled=false does without."
        ) from error
    return loggers


def take_pictures(loggers: Iterable[Logger]) -> bool:
    """Whether one of the loggers shows pictures: TensorBoard or W&B."""
    return any(isinstance(logger, TensorBoardLogger | WandbLogger) for logger in loggers)


def log_picture(loggers: Iterable[Logger], name: str, picture: Tensor, step: int) -> None:
    """Send a picture to the loggers that show pictures.

    Args:
        loggers: the run's loggers.
        name: the picture's name there.
        picture: uint8 (3, H, W), on the CPU.
        step: the step of the run.
    """
    for logger in loggers:
        if isinstance(logger, TensorBoardLogger):
            logger.experiment.add_image(name, picture, step)
        elif isinstance(logger, WandbLogger):  # its own steps count what was logged
            logger.log_image(name, [picture.permute(1, 2, 0).numpy()], caption=[f"step {step}"])
