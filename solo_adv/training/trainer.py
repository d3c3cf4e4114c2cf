"""Builds Lightning's Trainer from a config, and checks that the machine has its devices."""

import os
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger, WandbLogger
from lightning.pytorch.strategies import DDPStrategy
from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig

from solo_adv.support.errors import UserError
from solo_adv.support.processes import usable_cores
from solo_adv.support.settings import plain
from solo_adv.training.batch_norm import SyncedBatchNorm
from solo_adv.training.checkpoints import CheckedCheckpointIO, Checkpointer
from solo_adv.training.config import device_count, trainer_settings
from solo_adv.training.progress import RunProgress
from solo_adv.training.runs import Run


def build_trainer(cfg: DictConfig, run: Run, callbacks: list[Callback] | None = None) -> Trainer:
    """Build a Trainer with progress, checkpoints and loggers from the config's top-level keys.

    Raises:
        UserError: Lightning does not accept the settings, or a logger is not installed.
    """
    callbacks = [*(callbacks or [])]
    if cfg.get("enable_progress_bar") is not False:
        callbacks.insert(0, RunProgress())
    if cfg.checkpoint.enabled:
        callbacks.append(
            Checkpointer(
                run,
                frequency=cfg.checkpoint.frequency,
                minutes=cfg.checkpoint.get("minutes"),
                keep_prev=cfg.checkpoint.keep_prev,
            )
        )
    settings = trainer_settings(cfg)
    if settings.get("strategy") == "ddp":
        settings["strategy"] = DDPStrategy(find_unused_parameters=False)
    plugins = [*_listed(settings.get("plugins")), CheckedCheckpointIO()]
    if settings.pop("sync_batchnorm", False):
        on_gpu = torch.cuda.is_available() and settings.get("accelerator") != "cpu"
        plugins.append(SyncedBatchNorm(gpu=on_gpu))
    settings |= {
        "callbacks": callbacks,
        "logger": _loggers(cfg, run),
        "enable_checkpointing": False,
        "enable_model_summary": False,
        "use_distributed_sampler": False,
        "plugins": plugins,
    }
    try:
        return Trainer(**settings)
    except Exception as error:
        reason = " ".join(str(error).split())
        raise UserError(f"Lightning's Trainer refuses these settings: {reason}") from error


def check_processes(cfg: DictConfig) -> None:
    """Refuse more devices than this machine has, and several nodes if nothing connects them.

    Without this check Lightning would start any number of processes on a CPU, where they compete
    for its cores, and would wait half an hour for nodes that nobody starts.

    Raises:
        UserError: the config asks for such devices or nodes. The message says which devices there
            are, or how to start the nodes.
    """
    devices, nodes = plain(cfg.get("devices")), cfg.get("num_nodes") or 1
    gpus = torch.cuda.device_count() if cfg.get("accelerator") not in ("cpu", "mps") else 0
    wanted = device_count(cfg)
    if gpus:
        indexes = devices if isinstance(devices, list) else range(wanted)
        missing = [index for index in indexes if index >= gpus]
        if missing and cfg.get("accelerator") in (None, "auto", "gpu", "cuda"):
            raise UserError(
                f"devices={devices}: this machine has {gpus} GPUs, numbered from 0 to {gpus - 1}."
            )
    elif cfg.get("accelerator") in (None, "auto", "cpu"):
        cores = usable_cores()
        if isinstance(devices, list) and devices != [0]:
            raise UserError(
                f"devices={devices} names GPUs, and there is none that torch can use here: "
                "devices=1 trains on the CPU."
            )
        if wanted > cores:
            raise UserError(
                f"devices={devices}: there is no GPU that torch can use here, and this CPU has "
                f"{cores} cores, so it can run at most as many processes. Use devices=1."
            )
    if nodes > 1 and not any(name in os.environ for name in _OF_A_CLUSTER):
        raise UserError(
            f"num_nodes={nodes}, but this process does not know the other nodes: start it on each "
            f"node with srun, or with torchrun --nnodes={nodes} --rdzv-endpoint=HOST:PORT, or set "
            "MASTER_ADDR and NODE_RANK."
        )


_OF_A_CLUSTER = (
    *("MASTER_ADDR", "TORCHELASTIC_RUN_ID", "SLURM_JOB_ID", "LSB_JOBID"),
    *("GROUP_RANK", "OMPI_COMM_WORLD_SIZE", "KUBERNETES_PORT"),
)
"""Where Lightning can find the other nodes, one of these environment variables is set."""


def _listed(value: Any) -> list[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


@rank_zero_only
def _set_aside(metrics: Path) -> None:
    """Rename what a run logged before it was continued to ``metrics-1.csv`` and so on."""
    if metrics.exists():  # Lightning would delete the file
        earlier = len(list(metrics.parent.glob("metrics-*.csv")))
        metrics.rename(metrics.with_name(f"metrics-{earlier + 1}.csv"))


def _loggers(cfg: DictConfig, run: Run) -> list[Logger]:
    """Build the logger that writes ``metrics.csv`` and those that the config enables.

    Raises:
        UserError: a logger is not installed or cannot be reached.
    """
    place: dict[str, Any] = {"save_dir": run.directory, "name": "", "version": ""}
    _set_aside(run.directory / "metrics.csv")
    loggers: list[Logger] = [CSVLogger(**place)]
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
