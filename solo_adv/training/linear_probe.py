"""Linear evaluation with solo-learn's recipe: augmented images, many epochs, top-1 and top-5."""

from typing import Any

import torch
import torch.nn.functional as F
from lightning.pytorch import LightningModule
from omegaconf import DictConfig
from torch import Tensor, nn

from solo_adv.crops import CropPipeline, as_unit_float
from solo_adv.methods.optim import build_optimizer, build_scheduler
from solo_adv.support.hits import accuracy
from solo_adv.support.settings import plain


class LinearProbe(LightningModule):
    """A linear classifier on a frozen encoder.

    Args:
        encoder: maps pixels (N, 3, H, W) in [0, 1] to features (N, features_dim); not trained.
        num_classes: number of classes.
        cfg: a config with ``optimizer``, ``scheduler`` and ``max_epochs``.
        crops: draws one crop of each training image; None trains on the whole images.
    """

    def __init__(
        self, encoder: nn.Module, num_classes: int, cfg: DictConfig, crops: CropPipeline | None
    ) -> None:
        super().__init__()
        # In a list the encoder is not a submodule, so it is neither trained nor saved again.
        self._encoder = [encoder.requires_grad_(False).eval()]
        self.classifier = nn.Linear(int(encoder.features_dim), num_classes)  # type: ignore[arg-type]
        self.cfg = cfg
        self.crops = crops
        self.best = self.last = (0.0, 0.0)
        self._validation: list[tuple[Tensor, Tensor]] = []

    def setup(self, stage: str) -> None:
        self._encoder[0].to(self.device)

    def forward(self, pixels: Tensor) -> Tensor:
        """Logits (N, num_classes) of pixels (N, 3, H, W) in [0, 1]."""
        with torch.no_grad():
            features = self._encoder[0](pixels)
        logits: Tensor = self.classifier(features)
        return logits

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        _, (images,), targets = batch
        pixels = as_unit_float(images) if self.crops is None else self.crops(images)
        logits = self(pixels)
        loss = F.cross_entropy(logits, targets)
        acc1, _ = accuracy(logits.detach(), targets)
        self.log_dict({"train_loss": loss.detach(), "train_acc1": 100 * acc1}, prog_bar=True)
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        images, targets = batch
        self._validation.append((self(as_unit_float(images)), targets))

    def on_validation_epoch_end(self) -> None:
        logits, targets = (torch.cat(parts) for parts in zip(*self._validation, strict=True))
        self._validation.clear()
        self.last = accuracy(logits, targets)
        self.best = max(self.best, self.last)
        loss = F.cross_entropy(logits, targets)
        metrics: dict[str, Any] = {
            "val_loss": loss,
            "val_acc1": 100 * self.last[0],
            "val_acc5": 100 * self.last[1],
        }
        self.log_dict(metrics, prog_bar=True, sync_dist=True)

    def configure_optimizers(self) -> Any:
        settings, schedule = self.cfg.optimizer, self.cfg.scheduler
        optimizer = build_optimizer(
            settings.name,
            [{"params": self.classifier.parameters()}],
            lr=settings.lr,
            weight_decay=settings.weight_decay,
            exclude_bias_n_norm_wd=settings.exclude_bias_n_norm_wd,
            **(plain(settings.kwargs) or {}),
        )
        scheduler = build_scheduler(
            schedule.name,
            optimizer,
            total_steps=self.cfg.max_epochs,
            warmup_steps=schedule.warmup_epochs,
            warmup_start_lr=schedule.warmup_start_lr,
            min_lr=schedule.min_lr,
            lr_decay_steps=plain(schedule.lr_decay_steps),
        )
        return optimizer if scheduler is None else ([optimizer], [scheduler])
