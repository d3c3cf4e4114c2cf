"""Adversarial full fine-tuning (AFF) of encoder and head together, on attacked labelled images.

It is the field's third protocol, beside the standard (SLF) and the adversarial linear head (ALF):
Jiang et al. 2020, https://arxiv.org/abs/2010.13337.
"""

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from solo_adv.adversaries import PGD, batch_norm_during_attack
from solo_adv.crops import CropSpec, build
from solo_adv.data import ImageSet
from solo_adv.encoders.classifier import Classifier
from solo_adv.evaluation.aggregation import without_colour
from solo_adv.evaluation.images import batches
from solo_adv.objectives.trades import divergence_of, trades_loss
from solo_adv.support.checks import choice, epochs_of, flag, known_keys, number, whole
from solo_adv.support.errors import UserError
from solo_adv.support.progress import track

MOMENTUM = 0.9
LEAST_SHARE_OF_THE_IMAGE = 0.5
LOSSES = ("cross_entropy", "trades")


@dataclass(frozen=True, kw_only=True)
class FinetuneRecipe:
    """SGD with momentum 0.9, and a cosine schedule to zero that is stepped once a batch."""

    epochs: int = 10
    lr: float = 0.01
    batch_size: int = 128
    weight_decay: float = 5e-4
    augment: bool = True
    """Whether to train on flipped random crops of at least half the image instead of whole images.
    """
    loss: str = "cross_entropy"
    """``cross_entropy`` of attacked images, or ``trades``, whose attack ascends the divergence of
    attacked predictions from clean ones."""
    beta: float = 6.0
    """Weight of the divergence under ``loss=trades``."""
    milestones: tuple[int, ...] = ()
    """Epochs after which the learning rate is divided by 10. If there are none, it follows a
    cosine."""

    def __post_init__(self) -> None:
        whole("finetune_recipe.epochs", self.epochs, 1)
        number("finetune_recipe.lr", self.lr, above_zero=True)
        whole("finetune_recipe.batch_size", self.batch_size, 2)
        number("finetune_recipe.weight_decay", self.weight_decay)
        flag("finetune_recipe.augment", self.augment)
        choice("finetune_recipe.loss", self.loss, LOSSES)
        number("finetune_recipe.beta", self.beta)
        object.__setattr__(
            self, "milestones", epochs_of("finetune_recipe.milestones", self.milestones)
        )

    @classmethod
    def from_config(cls, mapping: Mapping[str, Any]) -> "FinetuneRecipe":
        known_keys("finetune_recipe", mapping, cls)
        return cls(**mapping)


def finetune_adversarially(
    encoder: nn.Module,
    head: nn.Module,
    train_set: ImageSet,
    *,
    recipe: FinetuneRecipe,
    adversary: PGD,
    device: torch.device | str,
    seed: int,
) -> Classifier:
    """Train a copy of encoder and head together, on images that ``adversary`` attacks.

    The update runs in training mode (with batch statistics), the attack under the adversary's
    ``batch_norm``. Under ``loss=trades`` the adversary should start at random, because the
    divergence has no gradient at the clean image. The given encoder and head and torch's global
    random state do not change.

    Args:
        encoder: network from images (N, 3, H, W), pixels in [0, 1], to features (N, D).
        head: network from features to logits (N, K), from which the fine-tuning starts.
        train_set: labelled images.
        recipe: how to train.
        adversary: attacks the images.
        device: where to compute.
        seed: seed of everything that is drawn at random.

    Returns:
        The classifier, in eval mode and with frozen weights.

    Raises:
        UserError: the loss became infinite or NaN.
    """
    model = nn.Sequential(copy.deepcopy(encoder), copy.deepcopy(head)).to(device)
    model.requires_grad_(True).train()
    optimizer = torch.optim.SGD(
        model.parameters(), lr=recipe.lr, momentum=MOMENTUM, weight_decay=recipe.weight_decay
    )
    updates = recipe.epochs * math.ceil(len(train_set) / recipe.batch_size)
    schedule: torch.optim.lr_scheduler.LRScheduler
    if recipe.milestones:
        by_update = [epoch * updates // recipe.epochs for epoch in recipe.milestones]
        schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, by_update)
    else:
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, updates)
    trades = recipe.loss == "trades"
    stream = batches(train_set, recipe.batch_size, device, shuffle_seed=seed, epochs=recipe.epochs)
    size = train_set[0][0].shape[-1]
    spec = CropSpec(size=size, num_crops=1, scale=(LEAST_SHARE_OF_THE_IMAGE, 1.0))
    crops = build(without_colour(spec), seed=seed)
    generator = torch.Generator(device).manual_seed(seed)
    devices = [device] if torch.device(device).type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)  # for dropout
        for images, labels in track(stream, "Adversarial fine-tuning", updates):
            if len(images) == 1:  # batch norm needs more than one image
                continue
            pixels = crops(images) if recipe.augment else images

            with batch_norm_during_attack(model, adversary.batch_norm):
                clean = _logits(model, pixels) if trades else None

                def loss_of(
                    attacked: Tensor, labels: Tensor = labels, clean: Tensor | None = clean
                ) -> Tensor:
                    logits = model(attacked)
                    if clean is not None:
                        return divergence_of(clean, logits)
                    return F.cross_entropy(logits, labels, reduction="sum")

                delta = adversary.perturb(pixels, loss_of, generator)
            if trades:
                loss = trades_loss(model(pixels), model(pixels + delta), labels, recipe.beta).total
            else:
                loss = F.cross_entropy(model(pixels + delta), labels)
            if not loss.isfinite():
                raise UserError(
                    "The loss of adversarial fine-tuning is no longer finite: take a smaller "
                    f"finetune_recipe.lr (it is {recipe.lr:g})."
                )
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
    optimizer.zero_grad(set_to_none=True)
    return Classifier(model[0], model[1]).requires_grad_(False)


@torch.no_grad()
def _logits(model: nn.Module, pixels: Tensor) -> Tensor:
    logits: Tensor = model(pixels)
    return logits
