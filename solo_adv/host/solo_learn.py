"""The methods on solo-learn's own ``BaseMethod``. Importing this module imports solo-learn.

Code that is needed because of a certain line of solo-learn (v1.0.6, commit 9187ea3) stands here,
with a comment that names the line. ``solo_config`` knows what solo-learn's configs leave out.
"""

import copy
import warnings
from functools import partial
from typing import Any, ClassVar

import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig
from solo.methods import METHODS as ITS_METHODS
from solo.methods.base import BaseMethod
from solo.utils.auto_resumer import AutoResumer
from solo.utils.checkpointer import Checkpointer
from solo.utils.knn import WeightedKNNClassifier
from torch import Tensor, nn
from torchmetrics import Metric

from solo_adv.adversaries import Adversary
from solo_adv.encoders import solo_config
from solo_adv.encoders.backbones import Normalization, set_stem
from solo_adv.encoders.specification import STEMS, solo_learns_name
from solo_adv.host.joining import join
from solo_adv.host.schema import check_types
from solo_adv.host.stock_configs import (
    introduction,
    keys_read_by,
    of_other_methods,
    resolve_crops,
)
from solo_adv.methods import MIXINS, AdversarialMethod
from solo_adv.methods.optim import SCHEDULERS, build_optimizer, build_scheduler
from solo_adv.objectives import Objective
from solo_adv.support.checks import choice
from solo_adv.support.errors import UserError
from solo_adv.support.settings import accepted_settings, plain

# solo/methods/base.py:362: the schedules that solo-learn's configure_optimizers can build.
_ITS_SCHEDULERS = ("warmup_cosine", "step", "none")

# solo/utils/auto_resumer.py:16 compares only some keys. Without these further keys, a run with
# another epsilon, other crops or other data would resume the old run.
_ALSO_PART_OF_THE_RESULT = (
    *("method_kwargs", "adversary", "crops", "augmentations", "preset", "seed", "precision"),
    *("teacher", "averaging", "backbone.batch_norms"),
    *("scheduler", "optimizer.kwargs", "data.train_path", "data.fraction", "data.no_labels"),
)


class SoloLearnMethod(BaseMethod):
    """solo-learn's base class, extended by the conversion of its normalised images to pixels."""

    objective_class: ClassVar[type[Objective]]
    adversary: Adversary

    # solo/utils/lars.py:137 compares the norms of each weight on the CPU, which waits for the GPU
    # twice for each weight. timm's LARS does the same arithmetic without waiting.
    _OPTIMIZERS: ClassVar[dict[str, Any]] = {
        **BaseMethod._OPTIMIZERS,
        "lars": partial(build_optimizer, "lars"),
    }

    def __init__(self, cfg: DictConfig) -> None:
        given = cfg
        left_aside = self._of_other_methods(cfg)
        cfg = self.add_and_assert_specific_cfg(cfg)
        knn_eval = cfg.knn_eval.enabled
        # solo/methods/base.py:256 would build a metric that current torchmetrics refuse; _OnlineKNN
        # takes its place below.
        cfg.knn_eval.enabled = False
        try:
            super().__init__(cfg)
        finally:
            cfg.knn_eval.enabled = knn_eval
        self.cfg: DictConfig = _kept_from_the_trainer(given, cfg)
        self._left_aside = left_aside
        self.knn_eval: bool = knn_eval
        if knn_eval:
            self.knn = _OnlineKNN(k=self.knn_k, distance_fx=cfg.knn_eval.distance_func)
        self.host_normalization = Normalization(*solo_config.statistics(plain(cfg)))
        trained_on = self.complete_config()["data"]
        self.normalization = Normalization(trained_on["mean"], trained_on["std"])
        self._set_stem()
        AutoResumer.SHOULD_MATCH = [
            *AutoResumer.SHOULD_MATCH,
            *(key for key in _ALSO_PART_OF_THE_RESULT if key not in AutoResumer.SHOULD_MATCH),
        ]

    @classmethod
    def add_and_assert_specific_cfg(cls, cfg: DictConfig) -> DictConfig:
        """Fill in solo-learn's defaults, and refuse what it would accept and fail on later.

        Raises:
            UserError: a name or an option is unknown, or ``devices`` has a form for which
                solo-learn would scale the learning rate wrongly.
        """
        cfg = super().add_and_assert_specific_cfg(cfg)
        # solo/args/pretrain.py:143 adds these keys. The args.json of the stand-in host lacks them.
        for key, count in (("num_large_crops", 2), ("num_small_crops", 0)):
            cfg.data.setdefault(key, count)
        check_types(plain(cfg))
        cfg.backbone.name = solo_learns_name(cfg.backbone.name)
        choice("backbone.name", cfg.backbone.name, BaseMethod._BACKBONES)
        choice("backbone.stem", solo_config.stem(plain(cfg)), STEMS)
        choice("optimizer.name", cfg.optimizer.name, cls._OPTIMIZERS)
        choice("scheduler.name", cfg.scheduler.name, SCHEDULERS)
        _check_optimizer(cfg)
        if cfg.get("max_steps", -1) not in (None, -1):
            raise UserError(
                f"max_steps={cfg.max_steps}: under solo-learn Lightning counts every replay of a "
                "batch as a step. Use max_epochs and limit_train_batches."
            )
        devices = cfg.get("devices")
        if isinstance(devices, str) and devices != "1":
            # solo/args/pretrain.py:153 multiplies the learning rate by len(cfg.devices).
            raise UserError(
                f"devices='{devices}': solo-learn scales the learning rate by the length of "
                "devices, so name them in a list, devices=[0,1], or use devices='1'."
            )
        resolve_crops(cfg)
        for key in cls._of_other_methods(cfg):
            group, _, name = key.rpartition(".")
            del (cfg[group] if group else cfg)[name]
        return cfg

    @classmethod
    def crop_size(cls, cfg: DictConfig) -> int:
        """The side, in pixels, of the views that solo-learn's loaders deliver."""
        return solo_config.view_size(plain(cfg))

    @classmethod
    def _of_other_methods(cls, cfg: DictConfig) -> list[str]:
        projector = {"proj_hidden_dim", "proj_output_dim"}
        accepted = projector.union(accepted_settings(cls.objective_class))
        ours = projector.union(*(accepted_settings(m.objective_class) for m in MIXINS.values()))
        theirs = [method for method in ITS_METHODS.values() if method.__module__ != __name__]
        return of_other_methods(cfg, accepted, ours, keys_read_by(theirs))

    def complete_config(self) -> dict[str, Any]:
        """The config, completed by the stem and the statistics that follow from the data set."""
        return solo_config.complete(plain(self.cfg))

    def _set_stem(self) -> None:
        if not self.backbone_name.startswith("resnet"):
            return
        config = plain(self.cfg)
        built = solo_config.stem({**config, "backbone": {"name": self.backbone_name}})
        stem = solo_config.stem(config)
        if stem != built:
            warnings.warn(
                f"backbone.stem={stem}: solo-learn's main_linear.py will rebuild this encoder with "
                f"the {built} stem, which it gives to data.dataset={self.cfg.data.dataset}.",
                stacklevel=2,
            )
            set_stem(self.backbone, stem)

    # ---------------------------------------------------------------- images

    def to_pixels(self, images: Tensor) -> Tensor:
        """Undo the normalisation of solo-learn's loaders."""
        return self.host_normalization.undo(images)

    def from_pixels(self, pixels: Tensor) -> Tensor:
        """Normalise as solo-learn's loaders do."""
        normalized: Tensor = self.host_normalization(pixels)
        return normalized

    def forward(self, X: Tensor) -> dict[str, Tensor]:
        """Compute ``logits`` and ``feats`` of images (N, 3, H, W) from solo-learn's loaders."""
        out: dict[str, Tensor] = super().forward(self._as_trained_on(X))
        return out

    def multicrop_forward(self, X: Tensor) -> dict[str, Tensor]:
        """Compute ``feats`` of images (N, 3, H, W) from solo-learn's loaders."""
        out: dict[str, Tensor] = super().multicrop_forward(self._as_trained_on(X))
        return out

    def _as_trained_on(self, X: Tensor) -> Tensor:
        # The statistics differ if the encoder was trained on the stand-in host (as main_knn.py may
        # load one) or if data.mean is set.
        if self.normalization.statistics == self.host_normalization.statistics:
            return X
        normalized: Tensor = self.normalization(self.to_pixels(X))
        return normalized

    # ---------------------------------------------------------------- training

    def configure_optimizers(self) -> Any:
        """Let solo-learn build both, or add a schedule that solo-learn does not have."""
        name = self.cfg.scheduler.name
        if name in _ITS_SCHEDULERS:
            return super().configure_optimizers()
        self.scheduler = "none"
        optimizer = super().configure_optimizers()
        schedule = build_scheduler(
            name, optimizer, total_steps=int(self.trainer.estimated_stepping_batches)
        )
        return [optimizer], [{"scheduler": schedule, "interval": "step"}]

    def on_train_start(self) -> None:
        """Say once what the method makes of a config that may be written for another method."""
        super().on_train_start()
        replays = self.adversary.replays
        rank_zero_only(print)(introduction(self.cfg, self._left_aside, replays))

    def observe(self, feats: Tensor, targets: Tensor) -> None:
        """Give the features to the online kNN.

        solo/methods/base.py:533 does this in solo-learn's training_step, which ours replaces.
        """
        labelled = targets != -1
        if self.knn_eval:
            self.knn(train_features=feats[labelled], train_targets=targets[labelled])

    def on_train_epoch_end(self) -> None:
        """Save the last epoch, which solo-learn's checkpointer may skip."""
        super().on_train_epoch_end()
        epoch, last = self.trainer.current_epoch, (self.trainer.max_epochs or 0) - 1
        callbacks: list[Callback] = self.trainer.callbacks
        for callback in callbacks:
            # solo/utils/checkpointer.py:174 saves if epoch % frequency == 0, counting from 0.
            if isinstance(callback, Checkpointer) and epoch == last and epoch % callback.frequency:
                callback.save(self.trainer)


class _AcceptsComputeOnStep(Metric):
    def __init__(self, compute_on_step: bool | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)


class _OnlineKNN(WeightedKNNClassifier, _AcceptsComputeOnStep):
    """solo-learn's kNN metric, adapted to any version of torchmetrics.

    solo/utils/knn.py:53 passes ``compute_on_step``, which torchmetrics 1 refuses. Calling a metric
    of torchmetrics 1 also computes it, and this metric then forgets all features.
    """

    def forward(self, **features: Tensor) -> None:
        self.update(**features)


def _kept_from_the_trainer(given: DictConfig, cfg: DictConfig) -> DictConfig:
    """Copy the config, then clear in the given one what the method does by itself.

    main_pretrain.py:234 of solo-learn makes the Trainer from the given config, and Lightning would
    refuse to clip or accumulate gradients for a method that steps the optimiser by itself.
    """
    kept = copy.deepcopy(cfg)
    for key in ("gradient_clip_val", "gradient_clip_algorithm", "accumulate_grad_batches"):
        if given.get(key) is not None:
            del given[key]
    return kept


def _check_optimizer(cfg: DictConfig) -> None:
    settings = cfg.optimizer
    build: Any = SoloLearnMethod._OPTIMIZERS[settings.name]
    weights = [{"params": [nn.Parameter(torch.ones(1, 1))]}]
    try:
        build(weights, lr=1.0, weight_decay=0.0, **plain(settings.kwargs or {}))
    except (TypeError, ValueError) as error:
        raise UserError(
            f"optimizer.name={settings.name} does not take these optimizer.kwargs: {error}"
        ) from error


METHODS: dict[str, type[AdversarialMethod]] = join(SoloLearnMethod)
"""The methods on solo-learn, by name."""
