"""The stand-in for solo-learn's ``BaseMethod``, which keeps its contract on Lightning and timm."""

import math
from typing import Any

import torch
import torch.nn.functional as F
from lightning.pytorch import LightningModule
from omegaconf import DictConfig
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from solo_adv.crops import as_unit_float
from solo_adv.encoders.backbones import Normalization, build_backbone
from solo_adv.host.joining import join
from solo_adv.host.settings import StandaloneSettings
from solo_adv.methods import AdversarialMethod
from solo_adv.methods.optim import build_optimizer, build_scheduler
from solo_adv.support.hits import accuracy
from solo_adv.support.settings import plain


class StandaloneMethod(StandaloneSettings, LightningModule):
    """Backbone, online classifier, optimiser and validation for any method.

    Loaders deliver pixels (uint8, or float in [0, 1]). :meth:`forward` normalises them by the
    config's ``data.mean`` and ``data.std``.

    Attributes:
        total_batches: number of batches of the run, which the method knows.
    """

    total_batches: int

    def __init__(self, cfg: DictConfig) -> None:
        super().__init__()
        cfg = self.add_and_assert_specific_cfg(cfg)
        self.cfg = cfg
        self.normalize = Normalization(cfg.data.mean, cfg.data.std)
        self.backbone, self.features_dim = build_backbone(
            cfg.backbone.name,
            image_size=cfg.crops.size,
            stem=cfg.backbone.stem,
            **plain(cfg.backbone.kwargs),
        )
        self.num_classes: int = cfg.data.num_classes
        self.classifier: nn.Module = nn.Linear(self.features_dim, self.num_classes)
        self.no_channel_last: bool = cfg.performance.disable_channel_last
        self._validation: list[tuple[Tensor, Tensor]] = []

    @classmethod
    def add_and_assert_specific_cfg(cls, cfg: DictConfig) -> DictConfig:
        """Complete and check the config, and check the values of the optimiser and schedule.

        Raises:
            UserError: a name, a key or a value is not accepted.
        """
        cfg = super().add_and_assert_specific_cfg(cfg)
        # Both are built for a single weight, so that wrong values raise their errors right away.
        optimizer = _build_optimizer(cfg, [{"params": [nn.Parameter(torch.ones(1, 1))]}])
        _build_schedule(cfg, optimizer, 1, cfg.max_epochs)
        return cfg

    def complete_config(self) -> dict[str, Any]:
        """The config, which is complete already."""
        config: dict[str, Any] = plain(self.cfg)
        return config

    # ---------------------------------------------------------------- forward

    def to_pixels(self, images: Tensor) -> Tensor:
        """Return the images, because the loaders deliver pixels already."""
        return images

    def from_pixels(self, pixels: Tensor) -> Tensor:
        """Return the pixels, because :meth:`forward` takes pixels."""
        return pixels

    def forward(self, X: Tensor) -> dict[str, Tensor]:
        """Compute ``logits`` (N, K) and ``feats`` (N, D) of pixels (N, 3, H, W) in [0, 1]."""
        feats = self._features(X)
        return {"feats": feats, "logits": self.classifier(feats.detach())}

    def multicrop_forward(self, X: Tensor) -> dict[str, Tensor]:
        """Compute ``feats`` (N, D) of pixels (N, 3, H, W) in [0, 1]."""
        return {"feats": self._features(X)}

    def _features(self, X: Tensor) -> Tensor:
        if not self.no_channel_last:
            X = X.contiguous(memory_format=torch.channels_last)
        X = X.to(self.normalize.mean.dtype)  # crops are float32 in any precision
        feats: Tensor = self.backbone(self.normalize(X))
        return feats

    # ---------------------------------------------------------------- optimisation

    @property
    def learnable_params(self) -> list[dict[str, Any]]:
        """Parameter groups: the backbone, and the classifier with its own learning rate.

        The classifier has no weight decay.
        """
        return [
            {"name": "backbone", "params": self.backbone.parameters()},
            {
                "name": "classifier",
                "params": self.classifier.parameters(),
                "lr": self.cfg.optimizer.get("classifier_lr") or self.cfg.optimizer.lr,
                "weight_decay": 0.0,
            },
        ]

    def configure_optimizers(self) -> Any:
        """The optimiser, and the schedule over all batches of the run."""
        cfg = self.cfg
        optimizer = _build_optimizer(cfg, self.learnable_params)
        by_step = cfg.scheduler.interval == "step" and cfg.scheduler.name != "step"
        _ = self.trainer.estimated_stepping_batches  # makes the loaders, which know their number
        batches = self.trainer.num_training_batches
        epochs = self.total_batches / batches
        scheduler = _build_schedule(cfg, optimizer, batches if by_step else 1, epochs)
        if scheduler is None:
            return optimizer
        interval = "step" if by_step else "epoch"
        return [optimizer], [{"scheduler": scheduler, "interval": interval}]

    # ---------------------------------------------------------------- validation

    def observe(self, feats: Tensor, targets: Tensor) -> None:
        """Do nothing, because this host's online kNN embeds whole images itself.

        It is ``training.online_knn``.
        """

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Classify the images of a batch ``[images, targets]`` with the online classifier."""
        images, targets = batch
        self._validation.append((self(as_unit_float(images))["logits"], targets))

    def on_validation_epoch_end(self) -> None:
        """Log ``val_loss``, ``val_acc1`` and ``val_acc5`` (accuracies in percent)."""
        logits, targets = (torch.cat(parts) for parts in zip(*self._validation, strict=True))
        self._validation.clear()
        top1, top5 = accuracy(logits, targets)
        metrics: dict[str, Tensor | float] = {
            "val_loss": F.cross_entropy(logits.float(), targets),
            "val_acc1": 100 * top1,
            "val_acc5": 100 * top5,
        }
        self.log_dict(metrics, prog_bar=True, sync_dist=True)


def _build_optimizer(cfg: DictConfig, groups: list[dict[str, Any]]) -> Optimizer:
    settings = cfg.optimizer
    return build_optimizer(
        settings.name,
        groups,
        lr=settings.lr,
        weight_decay=settings.weight_decay,
        exclude_bias_n_norm_wd=settings.exclude_bias_n_norm_wd,
        **plain(settings.kwargs),
    )


def _build_schedule(
    cfg: DictConfig, optimizer: Optimizer, steps_per_epoch: float, epochs: float
) -> LRScheduler | None:
    """Build the schedule of ``epochs`` epochs, whose last one may be cut short."""
    settings = cfg.scheduler
    return build_scheduler(
        settings.name,
        optimizer,
        total_steps=math.ceil(round(epochs * steps_per_epoch, 6)),
        warmup_steps=round(settings.warmup_epochs * steps_per_epoch),
        warmup_start_lr=settings.warmup_start_lr,
        min_lr=settings.min_lr,
        lr_decay_steps=plain(settings.lr_decay_steps),
    )


METHODS: dict[str, type[AdversarialMethod]] = join(StandaloneMethod)
"""The methods on the stand-in host, by name."""
