"""The linear head on a frozen encoder: standard, or adversarially trained (the paper's r-LE)."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from solo_adv.adversaries import PGD
from solo_adv.crops import CropSpec
from solo_adv.crops import build as build_crops
from solo_adv.data import ImageSet
from solo_adv.encoders.classifier import Classifier, frozen
from solo_adv.evaluation.attacks.crafting import IN_FLOAT32, Crafting
from solo_adv.evaluation.heads.automatic import (
    LINEAR,
    automatic_rate,
    check_automatic,
    held_out,
)
from solo_adv.evaluation.heads.features import extract
from solo_adv.evaluation.images import a_few, batches
from solo_adv.support.checks import choice, epochs_of, flag, known_keys, number, whole
from solo_adv.support.errors import UserError
from solo_adv.support.examples import check_features
from solo_adv.support.logistic import fit_logistic
from solo_adv.support.progress import track

OPTIMIZERS = ("adam", "sgd", "lbfgs")
_LEAST_PENALTY = 1e-4
"""The weight decay of ``lbfgs`` if the recipe has none, so that there is one optimum."""
_LEAST_BATCH = 8
_SETTLED = 0.05
"""A head is settled if its training loss can fall only by less than this share."""


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
    smaller_batches: bool = False
    """Whether batches of a small set become smaller to reach ``min_updates``, which costs nothing,
    before the set is seen for more epochs. They keep at least 8 images."""
    optimizer: str = "adam"
    """``adam``, ``sgd`` (with momentum 0.9), or ``lbfgs``, which trains a standard head to
    convergence, so that ``lr``, ``batch_size``, ``epochs`` and ``min_updates`` mean nothing."""
    weight_decay: float = 0.0
    milestones: tuple[int, ...] = ()
    """Epochs after which the learning rate is divided by 10. It is constant if there are none. If
    ``min_updates`` makes the training longer, they come later in the same proportion."""
    augment: bool = False
    """Whether to train on images that are shifted by up to an eighth of their side and flipped, as
    the field's code does, instead of whole images. Every epoch then passes the encoder."""

    automatic_lr: bool = False
    """Whether the learning rate starts at ``lr`` and halves itself, by the accuracy on attacked
    validation images (see ``AutomaticRate``). The head that is best on these is the result."""
    validation: float = 0.05
    """Share of the training images that are kept for validation under ``automatic_lr=true``."""

    def __post_init__(self) -> None:
        number("head.lr", self.lr, above_zero=True)
        whole("head.batch_size", self.batch_size, 1)
        whole("head.epochs", self.epochs, 1)
        whole("head.min_updates", self.min_updates, 0)
        flag("head.smaller_batches", self.smaller_batches)
        choice("head.optimizer", self.optimizer, OPTIMIZERS)
        number("head.weight_decay", self.weight_decay, above_zero=False)
        object.__setattr__(self, "milestones", epochs_of("head.milestones", self.milestones))
        flag("head.augment", self.augment)
        check_automatic(
            "head",
            automatic_lr=self.automatic_lr,
            validation=self.validation,
            milestones=self.milestones,
        )
        if self.optimizer == "lbfgs" and (self.augment or self.milestones or self.automatic_lr):
            raise UserError(
                "head.optimizer=lbfgs trains to convergence on fixed features: use "
                "head.augment=false, head.milestones=[] and head.automatic_lr=false with it."
            )

    @classmethod
    def from_config(cls, mapping: Mapping[str, Any]) -> "HeadRecipe":
        """Make a recipe from the keys of a config's group ``head``.

        Raises:
            UserError: there is no such key, or its value is not accepted.
        """
        known_keys("head", mapping, cls)
        return cls(**mapping)

    @property
    def passes_encoder(self) -> bool:
        """Whether a standard head needs the encoder in training, not only features."""
        return self.augment or self.automatic_lr

    def for_images(self, num_images: int) -> "HeadRecipe":
        """This recipe with the batches that ``num_images`` images get under smaller_batches."""
        if not self.smaller_batches or not self.min_updates:
            return self
        enough = max(_LEAST_BATCH, num_images * self.epochs // self.min_updates)
        return replace(self, batch_size=min(self.batch_size, enough))

    def epochs_for(self, num_images: int) -> int:
        """How many epochs over ``num_images`` images respect ``min_updates``."""
        return max(self.epochs, math.ceil(self.min_updates / self.updates_per_epoch(num_images)))

    def updates_per_epoch(self, num_images: int) -> int:
        """How many updates an epoch over ``num_images`` images has."""
        return math.ceil(num_images / self.batch_size)

    def build_schedule(
        self, optimizer: torch.optim.Optimizer, num_images: int
    ) -> torch.optim.lr_scheduler.LRScheduler:
        """The schedule of the learning rate, to be stepped once an update."""
        total = self.epochs_for(num_images) * self.updates_per_epoch(num_images)
        updates = [epoch * total // self.epochs for epoch in self.milestones]
        return torch.optim.lr_scheduler.MultiStepLR(optimizer, updates)

    def build_optimizer(self, head: nn.Module) -> torch.optim.Optimizer:
        """The optimizer of a head's weights that the recipe names."""
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
    validation_adversary: PGD | None = None,
) -> nn.Linear:
    """Train a linear head on a frozen encoder, from scratch.

    With an adversary (r-LE), every batch is attacked end to end, through encoder and head, on the
    cross-entropy, and the head learns from the attacked features. Without one, and without
    augmentation and an automatic learning rate, the features of the images are computed once and
    the head trains on them.

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
        validation_adversary: attacks the validation images if the recipe has an automatic learning
            rate, and then it is required.

    Returns:
        The head in eval mode on ``device``.

    Raises:
        UserError: a label is outside 0..num_classes - 1 (unlabelled images are -1).

    Source:
        Paper section 3.2 (linear evaluation, r-LE).
    """
    _check_labels(train_set.labels, num_classes)
    if adversary is None and not recipe.passes_encoder:
        features, labels = extract(encoder, train_set, recipe.batch_size, device)
        return train_head_on_features(
            features, labels, num_classes=num_classes, recipe=recipe, seed=seed
        )
    validation = None
    if recipe.automatic_lr:
        train_set, validation = held_out(train_set, recipe.validation, seed)
    recipe = recipe.for_images(len(train_set))
    head = _new_head(features_dim, num_classes, seed, device)
    optimizer = recipe.build_optimizer(head)
    schedule = recipe.build_schedule(optimizer, len(train_set))
    weak = CropSpec.preset("weak", size=train_set[0][0].shape[-1])
    crops = build_crops(weak, seed=seed) if recipe.augment else None
    name = "Standard head" if adversary is None else "Robust head"
    with frozen(encoder):
        network = crafting.network(Classifier(encoder, head), a_few(train_set, device))
        epochs = recipe.epochs_for(len(train_set))
        stream = batches(train_set, recipe.batch_size, device, shuffle_seed=seed, epochs=epochs)
        generator = torch.Generator(device).manual_seed(seed)
        automatic = automatic_rate(
            optimizer,
            head,
            model=Classifier(encoder, head),
            validation=validation,
            adversary=validation_adversary,
            epochs=epochs,
            checkpoints=LINEAR,
            batch_size=recipe.batch_size,
            device=device,
            seed=seed,
        )
        an_epoch = recipe.updates_per_epoch(len(train_set))
        progress = track(stream, name, _updates(recipe, len(train_set)))
        for update, (whole_images, labels) in enumerate(progress, 1):
            images = whole_images if crops is None else crops(whole_images)

            def loss_of(attacked: Tensor, labels: Tensor = labels) -> Tensor:
                return F.cross_entropy(network(attacked), labels, reduction="sum")

            if adversary is not None:
                images = images + adversary.perturb(images, loss_of, generator)
            with torch.no_grad():
                features = encoder(images)
            _update(head, optimizer, schedule, features, labels)
            if automatic is not None and update % an_epoch == 0:
                automatic.after_epoch()
        if automatic is not None:
            automatic.take_best()
    return head


def train_head_on_features(
    features: Tensor, labels: Tensor, *, num_classes: int, recipe: HeadRecipe, seed: int
) -> nn.Linear:
    """Train a standard head on given features (N, D) and labels (N,), on their device.

    It is the head that `train_head` trains without an adversary and augmentation.

    Raises:
        UserError: features or labels have another shape or type, or a label is out of range.
    """
    check_features(features, labels)
    _check_labels(labels, num_classes)
    if recipe.optimizer == "lbfgs":
        penalty = recipe.weight_decay or _LEAST_PENALTY
        return fit_logistic(features, labels, num_classes, penalty=penalty)[0]
    recipe = recipe.for_images(len(labels))
    head = _new_head(features.shape[1], num_classes, seed, features.device)
    optimizer = recipe.build_optimizer(head)
    schedule = recipe.build_schedule(optimizer, len(labels))
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
        _update(head, optimizer, schedule, batch, labels[picked])
    return head


def unsettled(
    head: nn.Linear, features: Tensor, labels: Tensor, test: Tensor, test_labels: Tensor
) -> str | None:
    """Say so if some iterations of L-BFGS lower a standard head's training loss by much.

    Then the head is trained on to convergence, and the note tells the accuracy that this gives.

    Args:
        head: the trained head. It does not change.
        features: the features on which it was trained (N, D).
        labels: their labels (N,).
        test: the features of the test images (M, D).
        test_labels: their labels (M,).

    Returns:
        A note for the report; None if the head is trained to its end.
    """
    further, _ = fit_logistic(
        features, labels, head.out_features, penalty=_LEAST_PENALTY, iterations=30, start=head
    )
    with torch.no_grad():
        loss, lower = (float(F.cross_entropy(h(features), labels)) for h in (head, further))
    if lower > (1 - _SETTLED) * loss:
        return None
    converged, _ = fit_logistic(
        features, labels, head.out_features, penalty=_LEAST_PENALTY, start=further
    )
    with torch.no_grad():
        right = (converged(test).argmax(1) == test_labels).double().mean()
    return (
        f"The head is not trained to its end: its training loss is {loss:.3f}, and some iterations "
        f"of L-BFGS lower it to {lower:.3f}. Trained on to convergence, it has {right:.2%} on "
        "clean images. head.optimizer=lbfgs judges that head under attack, too."
    )


def _update(
    head: nn.Linear,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    features: Tensor,
    labels: Tensor,
) -> None:
    optimizer.zero_grad(set_to_none=True)
    F.cross_entropy(head(features), labels).backward()
    optimizer.step()
    schedule.step()


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
