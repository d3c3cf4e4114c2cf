"""The linear head on a frozen encoder: standard, or adversarially trained (the paper's r-LE)."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from solo_adv.adversaries import PGD
from solo_adv.data import ImageSet
from solo_adv.encoders.classifier import Classifier, frozen
from solo_adv.evaluation.attacks.crafting import IN_FLOAT32, Crafting
from solo_adv.evaluation.heads.features import extract
from solo_adv.evaluation.images import batches
from solo_adv.support.checks import choice, known_keys, number, whole
from solo_adv.support.errors import UserError
from solo_adv.support.progress import track

OPTIMIZERS = ("adam", "sgd")


@dataclass(frozen=True, kw_only=True)
class HeadRecipe:
    """How a head is trained. The head after the last update is used.

    The defaults are those of the reference code: Adam with a learning rate of 3e-4, without weight
    decay, schedule or augmentation. Every method gets 20 epochs (the reference code takes 2 for
    EMP-SSL and 20 for SimCLR).
    """

    lr: float = 3e-4
    batch_size: int = 256
    epochs: int = 20
    min_updates: int = 1000
    """Least number of updates. A small set is seen for more than ``epochs`` epochs to reach it."""
    optimizer: str = "adam"
    """``adam``, or ``sgd`` (with momentum 0.9)."""
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        number("head.lr", self.lr, above_zero=True)
        whole("head.batch_size", self.batch_size, 1)
        whole("head.epochs", self.epochs, 1)
        whole("head.min_updates", self.min_updates, 0)
        choice("head.optimizer", self.optimizer, OPTIMIZERS)
        number("head.weight_decay", self.weight_decay, above_zero=False)

    @classmethod
    def from_config(cls, mapping: Mapping[str, Any]) -> "HeadRecipe":
        known_keys("head", mapping, cls)
        return cls(**mapping)

    def epochs_for(self, num_images: int) -> int:
        """How many epochs over ``num_images`` images respect ``min_updates``."""
        return max(self.epochs, math.ceil(self.min_updates / self.updates_per_epoch(num_images)))

    def updates_per_epoch(self, num_images: int) -> int:
        return math.ceil(num_images / self.batch_size)

    def build_optimizer(self, head: nn.Module) -> torch.optim.Optimizer:
        if self.optimizer == "sgd":
            return torch.optim.SGD(
                head.parameters(),
                lr=self.lr,
                momentum=0.9,
                weight_decay=self.weight_decay,
                fused=True,
            )
        return torch.optim.Adam(
            head.parameters(), lr=self.lr, weight_decay=self.weight_decay, fused=True
        )


def train_head(
    encoder: nn.Module,
    train_set: ImageSet,
    *,
    num_classes: int,
    features_dim: int,
    recipe: HeadRecipe,
    adversary: PGD | None,
    device: torch.device | str,
    seed: int,
    crafting: Crafting = IN_FLOAT32,
) -> nn.Linear:
    """Train a linear head on a frozen encoder, from scratch.

    Without an adversary, the features of the images, without augmentation, are computed once and
    the head trains on them. With one (r-LE), every batch is attacked end to end, through encoder
    and head, on the cross-entropy, and the head learns from the attacked features.

    Args:
        encoder: network in eval mode from pixels (N, 3, H, W) in [0, 1] to features (N, D). It
            does not change.
        train_set: labelled images.
        num_classes: number of classes.
        features_dim: D, the dimension of the features.
        recipe: how to train.
        adversary: attacks the images; None trains a standard head.
        device: where to compute.
        seed: seed of everything that is drawn at random.
        crafting: how the passes of the attack are computed. The head learns in float32.

    Returns:
        The head in eval mode on ``device``.

    Raises:
        UserError: a label is outside 0..num_classes - 1 (unlabelled images are -1).

    Source:
        Paper section 3.2 (linear evaluation, r-LE).
    """
    _check_labels(train_set.labels, num_classes)
    if adversary is None:
        features, labels = extract(encoder, train_set, recipe.batch_size, device)
        return train_head_on_features(
            features, labels, num_classes=num_classes, recipe=recipe, seed=seed
        )
    head = _new_head(features_dim, num_classes, seed, device)
    optimizer = recipe.build_optimizer(head)
    with frozen(encoder):
        network = crafting.network(Classifier(encoder, head))
        epochs = recipe.epochs_for(len(train_set))
        stream = batches(train_set, recipe.batch_size, device, shuffle_seed=seed, epochs=epochs)
        generator = torch.Generator(device).manual_seed(seed)
        for images, labels in track(stream, "Robust head", _updates(recipe, len(train_set))):

            def loss_of(attacked: Tensor, labels: Tensor = labels) -> Tensor:
                return F.cross_entropy(network(attacked), labels, reduction="sum")

            delta = adversary.perturb(images, loss_of, generator)
            with torch.no_grad():
                features = encoder(images + delta)
            _update(head, optimizer, features, labels)
    return head


def train_head_on_features(
    features: Tensor, labels: Tensor, *, num_classes: int, recipe: HeadRecipe, seed: int
) -> nn.Linear:
    """Train a standard head on given features (N, D) and labels (N,), on their device.

    It is the head that `train_head` trains without an adversary.
    """
    _check_labels(labels, num_classes)
    head = _new_head(features.shape[1], num_classes, seed, features.device)
    optimizer = recipe.build_optimizer(head)
    order = torch.Generator().manual_seed(seed)

    def stream() -> Iterator[Tensor]:
        for _ in range(recipe.epochs_for(len(labels))):
            shuffled = torch.randperm(len(labels), generator=order).to(features.device)
            yield from shuffled.split(recipe.batch_size)

    # All updates share one buffer for their batch. The head is so small that allocating memory in
    # each update would take noticeable time.
    buffer = features.new_empty(min(recipe.batch_size, len(features)), features.shape[1])
    for picked in track(stream(), "Standard head", _updates(recipe, len(labels))):
        batch = torch.index_select(features, 0, picked, out=buffer[: len(picked)])
        _update(head, optimizer, batch, labels[picked])
    return head


def _update(
    head: nn.Linear, optimizer: torch.optim.Optimizer, features: Tensor, labels: Tensor
) -> None:
    optimizer.zero_grad(set_to_none=True)
    F.cross_entropy(head(features), labels).backward()
    optimizer.step()


def _new_head(
    features_dim: int, num_classes: int, seed: int, device: torch.device | str
) -> nn.Linear:
    """A head with torch's usual initialisation, drawn from the seed alone.

    It does not change the global random state.
    """
    head = nn.utils.skip_init(nn.Linear, features_dim, num_classes)
    generator = torch.Generator().manual_seed(seed)
    bound = features_dim**-0.5
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.uniform_(-bound, bound, generator=generator)
    return head.to(device).eval()


def _updates(recipe: HeadRecipe, num_images: int) -> int:
    return recipe.epochs_for(num_images) * recipe.updates_per_epoch(num_images)


def _check_labels(labels: Tensor, num_classes: int) -> None:
    lowest, highest = int(labels.min()), int(labels.max())
    if lowest < 0 or highest >= num_classes:
        raise UserError(
            f"A linear head for {num_classes} classes needs labels from 0 to {num_classes - 1}; "
            f"got labels from {lowest} to {highest} (-1 means unlabelled). Choose a labelled set."
        )
