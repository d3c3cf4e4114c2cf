"""Completes and checks the config of a run, which has solo-learn's schema, before any work."""

from dataclasses import fields
from typing import Any

import torch
from omegaconf import DictConfig

from solo_adv.data import DataConfig
from solo_adv.host.schema import check_types
from solo_adv.host.settings import CHECKS, DEFAULTS
from solo_adv.methods.optim import check_optimizer, check_scheduler
from solo_adv.methods.performance import Performance, resolved_precision
from solo_adv.support.checks import choice, flag, known_keys, number, whole
from solo_adv.support.errors import UserError
from solo_adv.support.settings import plain, section
from solo_adv.support.trainer_keys import OPTIONAL_KEYS
from solo_adv.training.trainer_arguments import complete_trainer_settings

_SECTIONS: dict[str, dict[str, Any]] = {
    "checkpoint": {
        "enabled": True,
        "dir": "trained_models",
        "frequency": 1,
        "keep_prev": False,
        "minutes": None,
    },
    "auto_resume": {"enabled": False, "max_hours": 36},
    "wandb": {"enabled": False, "entity": None, "project": "solo-adv", "offline": False},
    "tensorboard": {"enabled": False},
    "auto_umap": {"enabled": False, "frequency": 1, "kind": "umap"},
}
# The keys without a default, in the sections that the host completes.
_WITHOUT_DEFAULT = {
    "backbone": ("name", "batch_norms"),
    "optimizer": ("name", "batch_size", "lr", "classifier_lr", "weight_decay"),
    "scheduler": ("name",),
    "knn_eval": (),
    "performance": tuple(field.name for field in fields(Performance)),
}
_OTHER_KEYS = {
    *("name", "method", "backbone", "method_kwargs", "adversary", "crops", "data", "optimizer"),
    *("preset", "teacher", "averaging", "scheduler", "knn_eval", "performance", "seed"),
    "verbose",
    *("augmentations", "debug_augmentations", "dali"),  # solo-learn's, unused here
}


def parse_cfg(cfg: DictConfig) -> DictConfig:
    """Complete and check a pretraining config in place, the way solo-learn's ``parse_cfg`` does.

    The learning rates are scaled by batch_size * devices * nodes / 256.

    Raises:
        UserError: a key, the method or the data set is unknown, or a value is out of range.
    """
    _check_keys(cfg)
    choice("method", cfg.get("method"), CHECKS)
    cfg.seed = 5 if cfg.get("seed") is None else cfg.seed
    cfg.name = cfg.get("name") or f"{cfg.method}-{cfg.data.dataset}"
    _check_run_length(cfg)
    if cfg.data.get("format") == "dali":
        cfg.crops = {**section(cfg, "crops"), "backend": "dali", "source": "loader"}
    elif section(cfg, "crops").get("source") == "loader":
        raise UserError(
            "crops.source=loader takes ready crops from the loader: data.format=dali delivers them "
            "here, and solo-learn's own pipeline under solo-learn. Use crops.source=auto."
        )
    cfg = CHECKS[cfg.method].add_and_assert_specific_cfg(cfg)
    data_config(cfg)
    scale_learning_rates(cfg)
    return cfg


def check_probe_cfg(cfg: DictConfig) -> None:
    """Complete and check the settings that linear evaluation shares with pretraining.

    Raises:
        UserError: a key is unknown, or a value has the wrong type.
    """
    _check_keys(cfg, "pretrained_feature_extractor", "features", "augment", "pretrain_method")
    flag("augment", cfg.get("augment"))
    cfg.precision = resolved_precision(cfg)
    _check_run_length(cfg)
    check_optimizer(cfg.optimizer.get("name"), section(cfg.optimizer, "kwargs"))
    check_scheduler(cfg.scheduler.get("name"), plain(cfg.scheduler.get("lr_decay_steps")))


def _check_keys(cfg: DictConfig, *besides: str) -> None:
    """Refuse keys that nobody reads, and values of the wrong type, at every level."""
    known_keys("the config", plain(cfg), {*OPTIONAL_KEYS, *_OTHER_KEYS, *_SECTIONS, *besides})
    check_types(plain(cfg))
    for name, keys in _WITHOUT_DEFAULT.items():
        known_keys(name, section(cfg, name), [*DEFAULTS.get(name, ()), *keys])
    for name, defaults in _SECTIONS.items():
        known_keys(name, section(cfg, name), defaults)
        cfg[name] = {**defaults, **{k: v for k, v in section(cfg, name).items() if v is not None}}
    complete_trainer_settings(cfg)


def scale_learning_rates(cfg: DictConfig) -> None:
    """Multiply the learning rates by batch_size * devices * nodes / 256, as solo-learn does."""
    scale = cfg.optimizer.batch_size * device_count(cfg) * cfg.get("num_nodes", 1) / 256
    cfg.optimizer.lr *= scale
    if cfg.optimizer.get("classifier_lr") is not None:
        cfg.optimizer.classifier_lr *= scale


def data_config(cfg: DictConfig) -> DataConfig:
    """The ``data`` section, typed and checked."""
    return DataConfig.from_config(section(cfg, "data"))


def _check_run_length(cfg: DictConfig) -> None:
    whole("optimizer.batch_size", cfg.optimizer.get("batch_size"), 2)
    whole("max_epochs", cfg.get("max_epochs"), 1)
    number("optimizer.lr", cfg.optimizer.get("lr"), above_zero=True)


def device_count(cfg: DictConfig) -> int:
    """How many processes a node trains with.

    Raises:
        UserError: ``devices`` is neither a number, nor a list of GPU indexes, nor ``auto``.
    """
    devices = plain(cfg.get("devices"))
    if devices is None:
        devices = "auto"
    if isinstance(devices, list):
        return len(devices)
    if isinstance(devices, str) and "," in devices:
        return len(devices.split(","))
    if str(devices) in ("auto", "-1"):
        return max(1, torch.cuda.device_count()) if cfg.get("accelerator") != "cpu" else 1
    try:
        return int(devices)
    except ValueError:
        raise UserError(
            f"devices must be a number, a list of GPU indexes or auto; got {devices}."
        ) from None
