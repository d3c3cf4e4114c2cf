"""The methods on solo-learn's own ``BaseMethod``. Imports solo-learn: only for who runs it.

Every answer to a line of solo-learn (v1.0.6, commit 9187ea3) stands here, with that line named;
what its configs leave unsaid is in ``solo_config``.
"""

import warnings
from functools import partial
from typing import Any, ClassVar

import torch
from lightning.pytorch.callbacks import Callback
from omegaconf import DictConfig
from solo.methods.base import BaseMethod
from solo.utils.auto_resumer import AutoResumer
from solo.utils.checkpointer import Checkpointer
from solo.utils.knn import WeightedKNNClassifier
from torch import Tensor, nn
from torchmetrics import Metric

from solo_adv.encoders import solo_config
from solo_adv.encoders.backbones import Normalization, set_stem
from solo_adv.encoders.specification import STEMS
from solo_adv.host.joining import join
from solo_adv.methods import AdversarialMethod
from solo_adv.methods.optim import SCHEDULERS, build_optimizer, build_scheduler
from solo_adv.support.checks import choice
from solo_adv.support.errors import UserError
from solo_adv.support.settings import plain, section

# solo/methods/base.py:362: all that its configure_optimizers builds.
_ITS_SCHEDULERS = ("warmup_cosine", "step", "none")

# solo/utils/auto_resumer.py:16: without these, a run with another epsilon, other crops or other
# data would resume the old one.
_ALSO_PART_OF_THE_RESULT = (
    *("method_kwargs", "adversary", "crops", "augmentations", "preset", "seed", "precision"),
    *("teacher", "averaging", "backbone.batch_norms"),
    *("scheduler", "optimizer.kwargs", "data.train_path", "data.fraction", "data.no_labels"),
)


class SoloLearnMethod(BaseMethod):
    """solo-learn's base class with the two doors between its normalised images and pixels."""

    # solo/utils/lars.py:137 compares the norms of every weight on the host, which makes it wait for
    # the GPU twice a weight; the same arithmetic here is done for all weights at once.
    _OPTIMIZERS: ClassVar[dict[str, Any]] = {
        **BaseMethod._OPTIMIZERS,
        "lars": partial(build_optimizer, "lars"),
    }

    def __init__(self, cfg: DictConfig) -> None:
        cfg = self.add_and_assert_specific_cfg(cfg)
        knn_eval = cfg.knn_eval.enabled
        cfg.knn_eval.enabled = False  # solo/methods/base.py:256: see _OnlineKNN
        try:
            super().__init__(cfg)
        finally:
            cfg.knn_eval.enabled = knn_eval
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
        """solo-learn's defaults, with clear errors where it would fail later or silently."""
        cfg = super().add_and_assert_specific_cfg(cfg)
        # solo/args/pretrain.py:143 counts them; the args.json of the stand-in host lacks them.
        for key, count in (("num_large_crops", 2), ("num_small_crops", 0)):
            cfg.data.setdefault(key, count)
        choice("backbone.name", cfg.backbone.name, BaseMethod._BACKBONES)
        choice("backbone.stem", solo_config.stem(plain(cfg)), STEMS)
        choice("optimizer.name", cfg.optimizer.name, cls._OPTIMIZERS)
        choice("scheduler.name", cfg.scheduler.name, SCHEDULERS)
        _check_optimizer(cfg)
        devices = cfg.get("devices")
        if isinstance(devices, str) and devices != "1":
            # solo/args/pretrain.py:153: the learning rate is multiplied by len(cfg.devices).
            raise UserError(
                f"devices='{devices}': solo-learn scales the learning rate by the length of "
                "devices, so name them in a list, devices=[0,1], or use devices='1'."
            )
        if section(cfg, "crops").get("source") == "loader":
            config = plain(cfg)
            cfg.crops.num_crops = solo_config.views(config)
            cfg.crops.size = solo_config.view_size(config)
        return cfg

    @classmethod
    def crop_size(cls, cfg: DictConfig) -> int:
        """That of the views which solo-learn's loaders deliver."""
        return solo_config.view_size(plain(cfg))

    def complete_config(self) -> dict[str, Any]:
        """The config with the stem and the statistics that follow from the data set."""
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
        """Images normalised as solo-learn's loaders do to ``logits`` and ``feats``."""
        out: dict[str, Tensor] = super().forward(self._as_trained_on(X))
        return out

    def multicrop_forward(self, X: Tensor) -> dict[str, Tensor]:
        """Images normalised as solo-learn's loaders do to ``feats``."""
        out: dict[str, Tensor] = super().multicrop_forward(self._as_trained_on(X))
        return out

    def _as_trained_on(self, X: Tensor) -> Tensor:
        # They differ for an encoder of the stand-in host (main_knn.py), or if data.mean is set.
        if self.normalization.statistics == self.host_normalization.statistics:
            return X
        normalized: Tensor = self.normalization(self.to_pixels(X))
        return normalized

    # ---------------------------------------------------------------- training

    def configure_optimizers(self) -> Any:
        """solo-learn's, or a schedule that solo-learn does not have."""
        name = self.cfg.scheduler.name
        if name in _ITS_SCHEDULERS:
            return super().configure_optimizers()
        self.scheduler = "none"
        optimizer = super().configure_optimizers()
        schedule = build_scheduler(
            name, optimizer, total_steps=int(self.trainer.estimated_stepping_batches)
        )
        return [optimizer], [{"scheduler": schedule, "interval": "step"}]

    def observe(self, feats: Tensor, targets: Tensor) -> None:
        """solo/methods/base.py:533: what its training_step, which ours replaces, gives to kNN."""
        labelled = targets != -1
        if self.knn_eval:
            self.knn(train_features=feats[labelled], train_targets=targets[labelled])

    def on_train_epoch_end(self) -> None:
        """Lets no run end without its last epoch saved."""
        super().on_train_epoch_end()
        epoch, last = self.trainer.current_epoch, (self.trainer.max_epochs or 0) - 1
        callbacks: list[Callback] = self.trainer.callbacks
        for callback in callbacks:
            # solo/utils/checkpointer.py:174: saves where epoch % frequency == 0, epochs from 0.
            if isinstance(callback, Checkpointer) and epoch == last and epoch % callback.frequency:
                callback.save(self.trainer)


class _AcceptsComputeOnStep(Metric):
    def __init__(self, compute_on_step: bool | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)


class _OnlineKNN(WeightedKNNClassifier, _AcceptsComputeOnStep):
    """solo-learn's metric under any torchmetrics.

    solo/utils/knn.py:53 passes ``compute_on_step``, which torchmetrics 1 refuses; and there calling
    a metric computes it, which here means to forget all features.
    """

    def forward(self, **features: Tensor) -> None:
        self.update(**features)


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
