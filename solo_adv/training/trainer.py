"""Builds Lightning's Trainer from a config, and checks that the machine has its devices."""

import os
from typing import Any

import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import Timer
from lightning.pytorch.profilers import (
    AdvancedProfiler,
    Profiler,
    PyTorchProfiler,
    SimpleProfiler,
)
from lightning.pytorch.strategies import DDPStrategy
from omegaconf import DictConfig

from solo_adv.support.errors import UserError
from solo_adv.support.processes import usable_cores
from solo_adv.support.settings import plain
from solo_adv.training.batch_norm import SyncedBatchNorm
from solo_adv.training.checkpoints import CheckedCheckpointIO, Checkpointer
from solo_adv.training.config import device_count
from solo_adv.training.loggers import build_loggers
from solo_adv.training.objects import built_objects
from solo_adv.training.progress import RunProgress
from solo_adv.training.runs import Run
from solo_adv.training.trainer_arguments import PROFILERS, trainer_settings


def build_trainer(
    cfg: DictConfig,
    run: Run,
    callbacks: list[Callback] | None = None,
    *,
    replays: int | None = None,
) -> Trainer:
    """Build a Trainer with progress, checkpoints and loggers from the config's top-level keys.

    Args:
        cfg: a complete config.
        run: the run whose directory gets all files.
        callbacks: further callbacks.
        replays: for a method that steps the optimiser by itself, its steps in each update; None
            lets Lightning step.

    Raises:
        UserError: Lightning does not accept the settings, or a logger is not installed.
    """
    settings = trainer_settings(cfg)
    callbacks = [*(callbacks or []), *built_objects("callbacks", settings.get("callbacks"))]
    if settings.get("max_time") is not None:  # before the callback that saves when it ends
        callbacks.append(Timer(settings.pop("max_time")))
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
    if settings.get("strategy") == "ddp":
        settings["strategy"] = DDPStrategy(find_unused_parameters=False)
    if replays is not None:
        # The method clips and accumulates by itself. Lightning counts each of its updates as a
        # step, and would refuse the other two.
        for key in ("gradient_clip_val", "gradient_clip_algorithm", "accumulate_grad_batches"):
            settings.pop(key, None)
        for key in ("max_steps", "min_steps"):
            if settings.get(key, -1) > 0:
                settings[key] *= replays
    if "profiler" in settings:
        settings["profiler"] = _profiler(settings["profiler"], run)
    settings.pop("fast_dev_run", None)  # the settings that it stands for are in the config
    plugins = [*built_objects("plugins", settings.get("plugins")), CheckedCheckpointIO()]
    if settings.pop("sync_batchnorm", False):
        on_gpu = torch.cuda.is_available() and settings.get("accelerator") != "cpu"
        plugins.append(SyncedBatchNorm(gpu=on_gpu))
    settings |= {
        "callbacks": callbacks,
        "logger": build_loggers(cfg, run),
        "enable_checkpointing": False,
        "enable_model_summary": settings.get("enable_model_summary", False),
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


def _profiler(described: Any, run: Run) -> Profiler:
    """The profiler that a config names. Its report goes into the run's directory."""
    if described not in PROFILERS:
        (built,) = built_objects("profiler", described)
        profiler: Profiler = built
        return profiler
    kind = {"simple": SimpleProfiler, "advanced": AdvancedProfiler, "pytorch": PyTorchProfiler}
    return kind[described](dirpath=run.directory, filename=f"profile-{described}")


def time_is_over(trainer: Trainer) -> bool:
    """Whether ``max_time`` has passed, so that the run can continue if it is given more."""
    timers = [c for c in trainer.callbacks if isinstance(c, Timer)]  # type: ignore[attr-defined]
    return any((timer.time_remaining() or 0) <= 0 for timer in timers)
