"""Chooses the run and the checkpoint that a config continues, and checks that it can."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig
from torch import Tensor

from solo_adv.encoders.checkpoint import find_checkpoint, names_latest, position, read_checkpoint
from solo_adv.support.errors import UserError
from solo_adv.support.files import given_path
from solo_adv.support.settings import plain
from solo_adv.training.config import device_count
from solo_adv.training.runs import (
    Run,
    comparable,
    differences,
    explain_difference,
    find_unfinished,
    saved_config,
)

_KEY = "resume_from_checkpoint"


def run_to_continue(cfg: DictConfig) -> tuple[Run, Path | None]:
    """The run that a config trains, and the checkpoint that it starts from, if any.

    A named directory of a run, or ``latest``, is continued in that directory if it is a run of the
    same config; a named file, or a run with other settings, begins a new run.

    Raises:
        UserError: the named checkpoint does not exist.
    """
    named = cfg.get(_KEY)
    if named is not None:
        if not (names_latest(named) or given_path(named).exists()):
            raise UserError(
                f"{_KEY} does not exist: '{named}'. Give a .ckpt file or a run's "
                "directory, or latest, for the run that saved last."
            )
        checkpoint = find_checkpoint(named)
        run = Run(cfg, version=checkpoint.parent.name)
        whole = names_latest(named) or given_path(named).is_dir()
        same = comparable(saved_config(checkpoint.parent)) == comparable(plain(cfg))
        if whole and same and run.directory.resolve() == checkpoint.parent.resolve():
            return run, checkpoint
        return Run(cfg), checkpoint
    if not (cfg.auto_resume.enabled and cfg.checkpoint.enabled):
        return Run(cfg), None
    found = find_unfinished(cfg)
    if found is not None:
        return Run(cfg, version=found.parent.name), found
    if difference := explain_difference(cfg):
        rank_zero_only(print)(difference)
    return Run(cfg), None


def check_continuation(file: Path, state: Mapping[str, Tensor], cfg: DictConfig) -> None:
    """Refuse a checkpoint that training cannot continue from, and say which settings differ.

    Args:
        file: the checkpoint.
        state: the weights of the method that is to continue, of which only the shapes count.
        cfg: the complete config.

    Raises:
        UserError: the checkpoint is damaged, is not of a training run of this package, belongs to a
            run of another method, network or batch, or to a finished one.
    """
    checkpoint = read_checkpoint(file)
    ours = checkpoint.get("solo_adv")
    if not isinstance(ours, Mapping) or "optimizer_states" not in checkpoint:
        raise UserError(
            f"{_KEY}={file} is not of a training run of this package, so there is no state to "
            "continue from. Its encoder can be a start: method=fare or another with "
            f"teacher.checkpoint={file} teacher.start_student=true."
        )
    saved = comparable(ours["config"])
    wanted = comparable(plain(cfg))
    differing = differences(saved, wanted)
    if saved["method"] != cfg.method:
        raise UserError(f"{_KEY}={file} is of method={saved['method']}, not of {cfg.method}.")
    given = {name: tuple(value.shape) for name, value in checkpoint["state_dict"].items()}
    if given != {name: tuple(value.shape) for name, value in state.items()}:
        raise UserError(
            f"{_KEY}={file} holds the weights of another network. The settings that differ: "
            f"{differing or 'none that the config names'}."
        )
    if _images_of_a_step(saved) != _images_of_a_step(wanted):
        raise UserError(
            f"{_KEY}={file} is of a run with {_images_of_a_step(saved)} images in a step (batch "
            f"size x devices x nodes), and this one has {_images_of_a_step(wanted)}: its schedule "
            "would end at another place. Continue it with the same number."
        )
    epochs, batches = position(file)
    if not batches and max(epochs, _epochs_done(checkpoint)) >= cfg.max_epochs:
        raise UserError(
            f"{_KEY}={file} is of a finished run: all of max_epochs={cfg.max_epochs} epochs are "
            "done. A larger max_epochs continues it on the schedule of the longer run."
        )
    if differing:
        rank_zero_only(print)(f"Continued with other settings: {differing}")


def _epochs_done(checkpoint: Mapping[str, Any]) -> int:
    between = checkpoint["solo_adv"]["processes"][0].get("between_epochs", True)
    return int(checkpoint.get("epoch", 0)) + int(bool(between))


def _images_of_a_step(config: Mapping[str, Any]) -> int:
    cfg = DictConfig(dict(config))
    return int(cfg.optimizer.batch_size * device_count(cfg) * (cfg.get("num_nodes") or 1))
