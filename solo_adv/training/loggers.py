"""Builds the loggers of a run."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger, WandbLogger
from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig
from torch import Tensor

from solo_adv.support.errors import UserError
from solo_adv.support.settings import plain
from solo_adv.training.objects import built_objects
from solo_adv.training.runs import Run


@rank_zero_only
def _set_aside(metrics: Path) -> None:
    """Rename what a run logged before it was continued to ``metrics-1.csv`` and so on."""
    if metrics.exists():  # Lightning would delete the file
        earlier = len(list(metrics.parent.glob("metrics-*.csv")))
        metrics.rename(metrics.with_name(f"metrics-{earlier + 1}.csv"))


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
    _set_aside(run.directory / "metrics.csv")
    loggers: list[Logger] = [CSVLogger(**place), *built_objects("logger", named)]
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
