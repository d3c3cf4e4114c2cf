"""Checks the types of the settings that no dataclass holds, before anything else reads them."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from solo_adv.support.checks import channel_statistics, flag, number, whole
from solo_adv.support.errors import UserError

Check = Callable[[str, Any], None]


def check_types(config: Mapping[str, Any]) -> None:
    """Check a pretraining config against :data:`SECTIONS`, :data:`NEEDED` and :data:`TYPES`.

    Both hosts call this, so it checks only settings that have the same name under both.

    Raises:
        UserError: a section is missing, or a value has the wrong type or is out of range.
    """
    for name in SECTIONS:
        if name in config:
            _mapping(name, config[name])
    for name in NEEDED:
        if not config.get(name):
            raise UserError(f"The section {name} of the config is missing or empty.")
    for key, check in TYPES.items():
        value: Any = config
        for part in key.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        if value is not None:
            check(key, value)


def _mapping(name: str, value: object) -> None:
    if value is not None and not isinstance(value, Mapping):
        raise UserError(f"{name} must hold keys and values, such as {name}.key=value; got {value}.")


def _text(name: str, value: object) -> None:
    if not isinstance(value, str):
        raise UserError(f"{name} must be text; got {value}.")


def _run_name(name: str, value: object) -> None:
    """Check a name that becomes part of file names."""
    _text(name, value)
    if Path(str(value)).name != value or str(value).startswith((".", "~")):
        raise UserError(
            f"{name} must be a plain name, because files are named after it; got {value}. "
            "checkpoint.dir=DIR chooses the directory."
        )


def _devices(name: str, value: object) -> None:
    whole_numbers = value if isinstance(value, list) else [value]
    if not isinstance(value, str) and not all(type(n) is int for n in whole_numbers):
        raise UserError(f"{name} must be a number, a list of GPU indexes or auto; got {value}.")


def _seed(name: str, value: object) -> None:
    whole(name, value, 0)
    number(name, value, most=2**32 - 1)


def _options(besides: tuple[str, ...]) -> Check:
    """Make a check that refuses the keys ``besides``, which are set elsewhere in the config."""

    def check(name: str, value: object) -> None:
        _mapping(name, value)
        for key in besides:
            if isinstance(value, Mapping) and key in value:
                raise UserError(f"{name}.{key} is set twice: it has a key of its own.")

    return check


_positive = partial(number, above_zero=True)
_from_one = partial(whole, minimum=1)

SECTIONS = (
    *("backbone", "method_kwargs", "adversary", "crops", "data", "optimizer", "scheduler"),
    *("knn_eval", "checkpoint", "auto_resume", "wandb", "tensorboard", "performance"),
    "auto_umap",
    *("teacher", "averaging", "dali"),
)
NEEDED = ("backbone", "data", "optimizer", "scheduler")
TYPES: dict[str, Check] = {
    "name": _run_name,
    "seed": _seed,
    "verbose": flag,
    "devices": _devices,
    "num_nodes": _from_one,
    "accelerator": _text,
    "log_every_n_steps": _from_one,
    "backbone.name": _text,
    "backbone.kwargs": _options(("name", "image_size", "stem")),
    "crops.size": _from_one,
    "data.mean": channel_statistics,
    "data.std": channel_statistics,
    "optimizer.name": _text,
    "optimizer.classifier_lr": _positive,
    "optimizer.weight_decay": number,
    "optimizer.exclude_bias_n_norm_wd": flag,
    "optimizer.kwargs": _options(
        ("name", "groups", "lr", "weight_decay", "exclude_bias_n_norm_wd")
    ),
    "scheduler.name": _text,
    "scheduler.warmup_epochs": number,
    "scheduler.warmup_start_lr": number,
    "scheduler.min_lr": number,
    "knn_eval.enabled": flag,
    "knn_eval.k": _from_one,
    "knn_eval.distance_func": _text,
    "checkpoint.enabled": flag,
    "checkpoint.dir": _text,
    "checkpoint.frequency": _from_one,
    "checkpoint.keep_prev": flag,
    "checkpoint.minutes": _positive,
    "auto_resume.enabled": flag,
    "auto_resume.max_hours": number,
    "wandb.enabled": flag,
    "wandb.offline": flag,
    "tensorboard.enabled": flag,
    "auto_umap.enabled": flag,
    "auto_umap.frequency": _from_one,
    "auto_umap.kind": _text,
    "dali.encode_indexes_into_labels": flag,
    "performance.disable_channel_last": flag,
    "performance.keep_freed_memory": flag,
}
"""The check of each key. A value of null is not checked, because it means the default."""
