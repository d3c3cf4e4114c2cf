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
from torch import Tensor, nn

from solo_adv.adversaries import PGD, batch_norm_during_attack
from solo_adv.crops import CropSpec, build
from solo_adv.data import ImageSet
from solo_adv.encoders.classifier import Classifier
from solo_adv.evaluation.aggregation import without_colour
from solo_adv.evaluation.heads.automatic import (
    WHOLE,
    automatic_rate,
    check_automatic,
    held_out,
)
from solo_adv.evaluation.heads.losses import AutoLoRa, FinetuneLoss, Trades
from solo_adv.evaluation.images import batches
from solo_adv.support.checks import choice, epochs_of, flag, known_keys, number, whole
from solo_adv.support.errors import UserError
from solo_adv.support.progress import track
from solo_adv.support.random_state import random_state_kept

MOMENTUM = 0.9
LEAST_SHARE_OF_THE_IMAGE = 0.5
LOSSES = ("cross_entropy", "trades", "autolora")
LOOKS = 4
"""How often an epoch AutoLoRa weighs its losses anew."""


@dataclass(frozen=True, kw_only=True)
class FinetuneRecipe:
    """SGD with momentum 0.9. The learning rate follows a cosine to zero if nothing else is said."""

    epochs: int = 10
    lr: float = 0.01
    batch_size: int = 128
    weight_decay: float = 5e-4
    augment: bool = True
    """Whether to train on flipped random crops of at least half the image instead of whole images.
    """
    loss: str = "cross_entropy"
    """``cross_entropy`` of attacked images; ``trades``, whose attack ascends the divergence of
    attacked predictions from clean ones; or ``autolora``, where a low-rank branch takes the clean
    loss and the weights of the losses set themselves."""
    beta: float = 6.0
    """Weight of the divergence under ``loss=trades`` and ``autolora``."""
    rank: int = 8
    """Rank of the branch under ``loss=autolora``."""
    milestones: tuple[int, ...] = ()
    """Epochs after which the learning rate is divided by 10. If there are none, it follows a
    cosine."""
    automatic_lr: bool = False
    """Whether the learning rate starts at ``lr`` and halves itself, by the accuracy on attacked
    validation images (see ``AutomaticRate``). The weights that are best on these are the result."""
    validation: float = 0.05
    """Share of the training images that are kept for validation under ``automatic_lr=true``."""

    def __post_init__(self) -> None:
        whole("finetune_recipe.epochs", self.epochs, 1)
        number("finetune_recipe.lr", self.lr, above_zero=True)
        whole("finetune_recipe.batch_size", self.batch_size, 2)
        number("finetune_recipe.weight_decay", self.weight_decay)
        flag("finetune_recipe.augment", self.augment)
        choice("finetune_recipe.loss", self.loss, LOSSES)
        number("finetune_recipe.beta", self.beta)
        whole("finetune_recipe.rank", self.rank, 1)
        object.__setattr__(
            self, "milestones", epochs_of("finetune_recipe.milestones", self.milestones)
        )
        check_automatic(
            "finetune_recipe",
            automatic_lr=self.automatic_lr,
            validation=self.validation,
            milestones=self.milestones,
        )

    def loss_of(self, model: nn.Sequential) -> FinetuneLoss:
        """The loss for a model of an encoder, then a head."""
        if self.loss == "trades":
            return Trades(model, self.beta)
        if self.loss == "autolora":
            return AutoLoRa(model, self.beta, self.rank)
        return FinetuneLoss(model)

    @classmethod
    def from_config(cls, mapping: Mapping[str, Any]) -> "FinetuneRecipe":
        """Make a recipe from the keys of a config's group ``finetune_recipe``.

        Raises:
            UserError: there is no such key, or its value is not accepted.
        """
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
    validation = None
    if recipe.automatic_lr:
        train_set, validation = held_out(train_set, recipe.validation, seed)
    stream = batches(train_set, recipe.batch_size, device, shuffle_seed=seed, epochs=recipe.epochs)
    an_epoch = math.ceil(len(train_set) / recipe.batch_size)
    size = train_set[0][0].shape[-1]
    spec = CropSpec(size=size, num_crops=1, scale=(LEAST_SHARE_OF_THE_IMAGE, 1.0))
    crops = build(without_colour(spec), seed=seed)
    generator = torch.Generator(device).manual_seed(seed)
    with random_state_kept(device):
        torch.manual_seed(seed)  # for dropout and the low-rank branch
        loss_of = recipe.loss_of(model)
        trained = nn.ModuleList([model, *loss_of.own_modules]).to(device)
        optimizer = torch.optim.SGD(
            trained.parameters(), lr=recipe.lr, momentum=MOMENTUM, weight_decay=recipe.weight_decay
        )
        schedule = _schedule(optimizer, recipe, an_epoch)
        automatic = automatic_rate(
            optimizer,
            trained,
            model=model,
            validation=validation,
            adversary=adversary,
            epochs=recipe.epochs,
            checkpoints=WHOLE,
            batch_size=recipe.batch_size,
            device=device,
            seed=seed,
        )
        progress = track(stream, "Adversarial fine-tuning", recipe.epochs * an_epoch)
        for update, (images, labels) in enumerate(progress, 1):
            if (update - 1) % an_epoch % math.ceil(an_epoch / LOOKS) == 0:
                loss_of.look(train_set, recipe.batch_size, device)
            if len(images) > 1:  # batch norm needs more than one image
                pixels = crops(images) if recipe.augment else images
                with batch_norm_during_attack(model, adversary.batch_norm):
                    crafting = loss_of.crafting(pixels, labels)
                    delta = adversary.perturb(pixels, crafting, generator)
                _update(optimizer, loss_of(pixels, pixels + delta, labels), recipe.lr)
                schedule.step()
            if automatic is not None and update % an_epoch == 0:
                automatic.after_epoch()
        if automatic is not None:
            automatic.take_best()
    optimizer.zero_grad(set_to_none=True)
    return Classifier(model[0], model[1]).requires_grad_(False)


def _update(optimizer: torch.optim.Optimizer, loss: Tensor, lr: float) -> None:
    if not loss.isfinite():
        raise UserError(
            "The loss of adversarial fine-tuning is no longer finite: take a smaller "
            f"finetune_recipe.lr (it is {lr:g})."
        )
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()


def _schedule(
    optimizer: torch.optim.Optimizer, recipe: FinetuneRecipe, an_epoch: int
) -> torch.optim.lr_scheduler.LRScheduler:
    """The schedule of the learning rate, to be stepped once an update."""
    if recipe.milestones or recipe.automatic_lr:
        by_update = [epoch * an_epoch for epoch in recipe.milestones]
        return torch.optim.lr_scheduler.MultiStepLR(optimizer, by_update)
    return torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, recipe.epochs * an_epoch)
