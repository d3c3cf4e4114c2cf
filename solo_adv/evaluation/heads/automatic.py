"""A learning rate that halves itself when validation under attack no longer improves."""

import copy
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from torch import nn

from solo_adv.adversaries import PGD
from solo_adv.data import ImageSet
from solo_adv.encoders.classifier import predict
from solo_adv.evaluation.attacks.losses import cross_entropy_of
from solo_adv.evaluation.images import batches
from solo_adv.support.checks import flag, number
from solo_adv.support.errors import UserError

LINEAR = tuple(range(0, 51, 4))
WHOLE = (0, 16, 24, 28, 36, 40, 42, 44, 46, 48, 50)
"""The checkpoints for heads and for the whole network, as epochs of 50."""
_LENGTH = 50
_LEAST_RISING = 0.75
_VALIDATION_STEPS = 20


class AutomaticRate:
    """Halves an optimiser's learning rate by the rules of AutoLoRa, which are those of Auto-PGD.

    At checkpoints, which come closer towards the end, the rate is halved and training goes on from
    the best weights so far, if since the last checkpoint the robust accuracy on validation images
    rose in fewer than three of four epochs, or if neither the rate nor the best accuracy changed.

    Args:
        optimizer: the optimiser whose learning rates change.
        trained: the module whose weights and buffers are kept and brought back.
        judge: measures the accuracy under attack on validation images, as a fraction.
        epochs: length of the training.
        checkpoints: epochs of 50, beginning with 0. They are scaled to ``epochs``.

    Source:
        Xu et al. 2024, https://arxiv.org/abs/2310.01818, section 3.2, and the code of RobustSSL.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        trained: nn.Module,
        judge: Callable[[], float],
        *,
        epochs: int,
        checkpoints: Sequence[int],
    ) -> None:
        self._optimizer, self._trained, self._judge = optimizer, trained, judge
        scaled = {round(epoch * epochs / _LENGTH) for epoch in checkpoints}
        self.checkpoints = sorted(scaled)
        self.accuracies: list[float] = []
        self.halvings: list[int] = []
        """The epochs, counted from 1, after which the rate was halved."""
        self.best = -1.0
        self._best_weights: dict[str, Any] = {}
        self._best_before, self._halved_before = -1.0, False

    def after_epoch(self) -> None:
        """Judge the weights after an epoch and, at a checkpoint, decide on the rate."""
        accuracy = self._judge()
        self.accuracies.append(accuracy)
        if accuracy > self.best:
            self.best = accuracy
            self._best_weights = copy.deepcopy(self._trained.state_dict())
        begun = len(self.accuracies) - 1  # a checkpoint w is decided on after epoch w + 1
        if begun not in self.checkpoints[1:]:
            return
        previous = self.checkpoints[self.checkpoints.index(begun) - 1]
        since = self.accuracies[previous : begun + 1]
        rising = sum(later > earlier for earlier, later in pairwise(since))
        stuck = not self._halved_before and self.best == self._best_before
        halve = rising < _LEAST_RISING * (begun - previous) or stuck
        if halve:
            for group in self._optimizer.param_groups:
                group["lr"] /= 2
            self.halvings.append(len(self.accuracies))
            self.take_best()
        self._best_before, self._halved_before = self.best, halve

    def take_best(self) -> None:
        """Bring back the weights with the best accuracy under attack on validation images."""
        self._trained.load_state_dict(self._best_weights)


def automatic_rate(
    optimizer: torch.optim.Optimizer,
    trained: nn.Module,
    *,
    model: nn.Module,
    validation: ImageSet | None,
    adversary: PGD | None,
    epochs: int,
    checkpoints: Sequence[int],
    batch_size: int,
    device: torch.device | str,
    seed: int,
) -> AutomaticRate | None:
    """An :class:`AutomaticRate` that judges ``model`` on ``validation`` images.

    Args:
        optimizer: the optimiser whose learning rates change.
        trained: the module whose weights are kept and brought back.
        model: the classifier that is judged.
        validation: the images to judge it on; None makes no automatic rate.
        adversary: the attack of the training, from which :func:`validation_attack` follows.
        epochs: length of the training.
        checkpoints: as in :class:`AutomaticRate`.
        batch_size: number of images in a batch of the judgement.
        device: where to compute.
        seed: seed of the attack's random starts.
    """
    if validation is None:
        return None
    assert adversary is not None
    judge = partial(
        robust_accuracy,
        model,
        validation,
        validation_attack(adversary),
        batch_size=batch_size,
        device=device,
        seed=seed,
    )
    return AutomaticRate(optimizer, trained, judge, epochs=epochs, checkpoints=checkpoints)


def held_out(train_set: ImageSet, share: float, seed: int) -> tuple[ImageSet, ImageSet]:
    """Split a set at random into images to train on and images for validation.

    Args:
        train_set: the images.
        share: share of the validation images, in (0, 1). There is at least one of both kinds.
        seed: seed of the split.
    """
    order = torch.randperm(len(train_set), generator=torch.Generator().manual_seed(seed)).tolist()
    count = min(max(1, round(share * len(train_set))), len(train_set) - 1)
    return train_set.subset(sorted(order[count:])), train_set.subset(sorted(order[:count]))


def check_automatic(
    section: str, *, automatic_lr: bool, validation: float, milestones: Sequence[int]
) -> None:
    """Check a recipe's settings of the automatic learning rate.

    Args:
        section: name of the recipe in the config.
        automatic_lr: whether the rate is automatic.
        validation: share of the training images that are kept for validation.
        milestones: epochs after which the rate would be divided.

    Raises:
        UserError: a type is wrong, the share is not above 0 or leaves less than half of the images
            for training, or milestones are given as well.
    """
    flag(f"{section}.automatic_lr", automatic_lr)
    number(f"{section}.validation", validation, above_zero=True, most=0.5)
    if automatic_lr and milestones:
        raise UserError(
            f"{section}.milestones and {section}.automatic_lr=true both say when the learning rate "
            "falls: leave one out."
        )


def validation_attack(adversary: PGD) -> PGD:
    """The attack on validation images: that of training with 20 steps and in eval mode."""
    return PGD(
        adversary.epsilon,
        adversary.step_size,
        _VALIDATION_STEPS,
        adversary.random_start,
        norm=adversary.ball.norm,
        batch_norm="eval",
    )


def robust_accuracy(
    model: nn.Module,
    image_set: ImageSet,
    adversary: PGD,
    *,
    batch_size: int,
    device: torch.device | str,
    seed: int,
) -> float:
    """The accuracy of a model in eval mode on attacked images, as a fraction.

    The model's mode does not change. The same random starts are drawn every time.
    """
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    generator = torch.Generator(device).manual_seed(seed)
    correct = 0
    for images, labels in batches(image_set, batch_size, device):
        delta = adversary.perturb(images, cross_entropy_of(model, labels), generator)
        correct += int((predict(model, images + delta) == labels).sum())
    for module, mode in modes:
        module.training = mode
    return correct / len(image_set)
