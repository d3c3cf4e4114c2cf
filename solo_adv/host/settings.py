"""The settings of the stand-in host. Unlike the host itself, this module loads no Lightning."""

from typing import Any

from omegaconf import DictConfig

from solo_adv.encoders.specification import IDENTITY, resolve_name, resolve_stem
from solo_adv.host.joining import join
from solo_adv.methods import AdversarialMethod
from solo_adv.methods.optim import check_optimizer, check_scheduler
from solo_adv.support.errors import UserError
from solo_adv.support.settings import plain, section

DEFAULTS: dict[str, dict[str, Any]] = {
    "data": {"mean": IDENTITY[0], "std": IDENTITY[1]},
    "crops": {"size": 32},
    "backbone": {"stem": "auto", "kwargs": {}},
    "optimizer": {"exclude_bias_n_norm_wd": False, "kwargs": {}},
    "scheduler": {
        "lr_decay_steps": None,
        "min_lr": 0.0,
        "warmup_start_lr": 3e-5,
        "warmup_epochs": 10,
        "interval": "step",
    },
    "knn_eval": {"enabled": False, "k": 20, "distance_func": "cosine"},
}
"""The defaults of solo-learn's ``BaseMethod.add_and_assert_specific_cfg``, and those of keys that
only this package has."""


class StandaloneSettings:
    """Completes and checks the settings of the stand-in host."""

    @classmethod
    def add_and_assert_specific_cfg(cls, cfg: DictConfig) -> DictConfig:
        """Fill in solo-learn's defaults, and check the names and keys of the host's own sections.

        Raises:
            UserError: a backbone, stem, optimiser or schedule is unknown, or does not have an
                option.
        """
        for name, defaults in DEFAULTS.items():
            given = section(cfg, name)
            cfg[name] = {**defaults, **{k: v for k, v in given.items() if v is not None}}
        if cfg.scheduler.interval not in ("step", "epoch"):
            raise UserError(
                f"scheduler.interval must be step or epoch; got {cfg.scheduler.interval}."
            )
        if cfg.crops.get("source", "auto") == "auto":  # its loaders deliver whole images
            cfg.crops.source = "device"
        resolve_name(cfg.backbone.name)
        cfg.backbone.stem = resolve_stem(cfg.backbone.stem, cfg.crops.size)
        check_optimizer(cfg.optimizer.name, plain(cfg.optimizer.kwargs))
        check_scheduler(cfg.scheduler.name, plain(cfg.scheduler.lr_decay_steps))
        return cfg

    @classmethod
    def crop_size(cls, cfg: DictConfig) -> int:
        """The side of the crops in pixels. :data:`DEFAULTS` fills it in if the config has none."""
        return int(cfg.crops.size)


CHECKS: dict[str, type[AdversarialMethod]] = join(StandaloneSettings)
"""Classes by method name that complete and check a config before the host is loaded.

They have the class methods of the classes in ``standalone.METHODS`` but cannot be instantiated.
"""
