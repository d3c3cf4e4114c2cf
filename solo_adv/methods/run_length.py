"""How many batches a run has, with whatever arguments of Lightning's Trainer end it."""

import math
from typing import TYPE_CHECKING

from omegaconf import DictConfig

if TYPE_CHECKING:
    from lightning.pytorch import Trainer


def batches_in_all(trainer: "Trainer", *, replays: int = 1, accumulated: int = 1) -> int:
    """The number of batches of the whole run, in one process; 0 if it is not known.

    Args:
        trainer: the Trainer, which counts every optimiser step in ``max_steps``.
        replays: optimiser steps of each update.
        accumulated: number of batches whose gradients an update averages. The last update of an
            epoch may have fewer.
    """
    epochs, batches = trainer.max_epochs or 0, trainer.num_training_batches
    if epochs < 0 or not 0 < batches < math.inf:
        return 0
    steps = trainer.max_steps // replays if trainer.max_steps >= 0 else -1
    return _batches(int(batches), epochs, steps, accumulated)


def planned_batches(cfg: DictConfig, batches: int) -> int:
    """The number of batches of the whole run that a config asks for, in one process.

    Args:
        cfg: the complete config.
        batches: number of whole batches in the train images.
    """
    steps = cfg.get("max_steps")
    each = batches_of_epoch(cfg, batches)
    return _batches(each, cfg.max_epochs, -1 if steps is None else steps, _averaged(cfg))


def planned_updates(cfg: DictConfig, batches: int) -> int:
    """The number of updates in :func:`planned_batches`, without counting replays."""
    each, accumulated = batches_of_epoch(cfg, batches), _averaged(cfg)
    if each == 0:
        return 0
    epochs, rest = divmod(planned_batches(cfg, batches), each)
    return epochs * math.ceil(each / accumulated) + math.ceil(rest / accumulated)


def batches_of_epoch(cfg: DictConfig, batches: int) -> int:
    """How many of an epoch's batches ``limit_train_batches`` leaves: a number, or a share."""
    limit = cfg.get("limit_train_batches")
    if limit is None:
        return batches
    return min(batches, limit) if isinstance(limit, int) else int(batches * limit)


def _batches(each: int, epochs: int, steps: int, accumulated: int) -> int:
    """Batches of ``epochs`` with ``each`` batches, or fewer if ``steps`` updates are the end."""
    if steps < 0 or each == 0:
        return each * epochs
    whole_epochs, updates = divmod(steps, math.ceil(each / accumulated))
    return min(each * epochs, each * whole_epochs + min(each, updates * accumulated))


def _averaged(cfg: DictConfig) -> int:
    return int(cfg.get("accumulate_grad_batches") or 1)
