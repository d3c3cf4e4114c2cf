"""Accuracy under white-box, end-to-end L-infinity attack: the worst case over restarts."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from solo_adv.adversaries import PGD, LossOf, as_fraction, project
from solo_adv.checks import whole
from solo_adv.data import ImageSet
from solo_adv.errors import UserError
from solo_adv.evaluation.classifier import frozen, predict, require_eval
from solo_adv.evaluation.images import batches, num_batches, select
from solo_adv.evaluation.progress import track


@dataclass(frozen=True, kw_only=True)
class AttackResult:
    """How many of ``total`` images an attack left correctly classified."""

    name: str
    steps: int
    step_size: float
    restarts: int
    random_start: bool
    epsilon: float
    epsilon_text: str
    """Such as ``8/255``."""
    accuracy: float
    """``correct / total``, a fraction."""
    correct: int
    total: int
    seconds: float
    notes: list[str] = field(default_factory=list)


class CleanAccuracy(NamedTuple):
    """Accuracy on the images as they are; top-1 and top-5 are fractions."""

    top1: float
    top5: float
    correct: int
    total: int


class Attack(Protocol):
    """What a restart needs to offer; :class:`solo_adv.adversaries.PGD` does."""

    def perturb(
        self, crops: Tensor, loss_of: LossOf, generator: torch.Generator | None
    ) -> Tensor: ...


def evaluate_pgd(
    classifier: nn.Module,
    image_set: ImageSet,
    *,
    epsilon: float | str,
    steps: int = 20,
    step_size: float | str = 0.01,
    random_start: bool = False,
    restarts: int = 1,
    batch_size: int = 512,
    device: torch.device | str = "cpu",
    seed: int = 5,
    max_images: int | None = None,
) -> AttackResult:
    """Accuracy of ``classifier`` under PGD on the cross-entropy, worst case over ``restarts``.

    An image counts only if it is classified correctly as it is and after every restart. The first
    restart starts at zero unless ``random_start``; the later ones start at random.

    Args:
        classifier: from pixels (N, 3, H, W) in [0, 1] to logits (N, K), in eval mode.
        epsilon: radius of the ball, a fraction of the pixel range; ``step_size`` likewise.
        max_images: judge this many images of the set, drawn by ``seed`` alone; None for all.

    Raises:
        UserError: a setting is out of range, or part of the classifier is in training mode.

    Source:
        Paper section 3.2 (PGD-20); Madry et al. 2017, https://arxiv.org/abs/1706.06083
    """
    whole("restarts", restarts, 1)
    attacks = [
        PGD(epsilon, step_size, steps, random_start or restart > 0, batch_norm="eval")
        for restart in range(restarts)
    ]
    epsilon, step_size = attacks[0].epsilon, attacks[0].step_size
    image_set = select(image_set, max_images, seed)
    begun = time.perf_counter()
    label = f"PGD-{steps} at {epsilon_text(epsilon)}"
    survived, notes = survivors(
        classifier,
        image_set,
        attacks,
        epsilon=epsilon,
        batch_size=batch_size,
        device=device,
        seed=seed,
        stage=label,
    )
    if steps * step_size < epsilon * (1 - 1e-9):
        notes.append(
            f"{steps} steps of {step_size:g} reach only {steps * step_size:g}, less than epsilon "
            f"({epsilon:g}): the attack is weaker than its epsilon says. Take more or longer steps."
        )
    correct = int(survived.sum())
    return AttackResult(
        name=f"PGD-{steps}",
        steps=steps,
        step_size=step_size,
        restarts=restarts,
        random_start=random_start,
        epsilon=epsilon,
        epsilon_text=epsilon_text(epsilon),
        accuracy=correct / len(survived),
        correct=correct,
        total=len(survived),
        seconds=round(time.perf_counter() - begun, 3),
        notes=notes,
    )


def survivors(
    classifier: nn.Module,
    image_set: ImageSet,
    attacks: Sequence[Attack],
    *,
    epsilon: float,
    batch_size: int,
    device: torch.device | str,
    seed: int,
    stage: str = "Attack",
) -> tuple[Tensor, list[str]]:
    """Which images (N,) are right as they are and after every one of ``attacks``; and notes.

    Each attack sees only the images that survived the ones before it. No perturbation is trusted:
    each is projected onto the ball and the pixel box before the verdict.
    """
    require_eval(classifier)
    if len(image_set) == 0:
        raise UserError("There is no image to attack: the test set is empty.")
    generator = torch.Generator(device).manual_seed(seed)
    excess = 0.0
    with frozen(classifier):
        survived = _correct(classifier, image_set, batch_size, device)
        for attack in attacks:
            indices = survived.nonzero().squeeze(1)
            if len(indices) == 0:
                break
            remaining = image_set.subset(indices.tolist())
            stream = batches(remaining, batch_size, device)
            verdicts = []
            for images, labels in track(stream, stage, num_batches(remaining, batch_size)):
                delta = attack.perturb(images, cross_entropy_of(classifier, labels), generator)
                allowed = project(delta.clone(), images, epsilon)
                excess = max(excess, (delta - allowed).abs().max().item())
                verdicts.append(predict(classifier, (images + allowed).clamp_(0, 1)) == labels)
            survived[indices] = torch.cat(verdicts).cpu()
    left = (
        f"Perturbations left the threat model by up to {excess:g} and were projected back onto it."
    )
    return survived, [left] if excess > 0 else []


def cross_entropy_of(classifier: nn.Module, labels: Tensor) -> LossOf:
    """The loss that attacks ascend: a sum, so that no image's gradient depends on the batch."""

    def loss_of(images: Tensor) -> Tensor:
        return F.cross_entropy(classifier(images), labels, reduction="sum")

    return loss_of


@torch.no_grad()
def clean_accuracy(
    classifier: nn.Module,
    image_set: ImageSet,
    *,
    batch_size: int = 512,
    device: torch.device | str = "cpu",
    seed: int = 5,
    max_images: int | None = None,
) -> CleanAccuracy:
    """Accuracy without attack, on the same images as `evaluate_pgd` with that seed and number.

    Raises:
        UserError: part of the classifier is in training mode, or the set is empty.
    """
    require_eval(classifier)
    image_set = select(image_set, max_images, seed)
    total = len(image_set)
    if total == 0:
        raise UserError("There is no image to classify: the test set is empty.")
    top1 = top5 = 0
    for images, labels in batches(image_set, batch_size, device):
        logits = classifier(images)
        finite = logits.isfinite().all(dim=1, keepdim=True)
        hits = (logits.topk(min(5, logits.shape[1])).indices == labels[:, None]) & finite
        top1 += int(hits[:, 0].sum())
        top5 += int(hits.sum())
    return CleanAccuracy(top1 / total, top5 / total, top1, total)


def epsilon_text(epsilon: str | float) -> str:
    """``0.03137...`` as ``8/255``, any other fraction in the same unit (``7.65/255``)."""
    return f"{round(as_fraction('epsilon', epsilon) * 255, 2):g}/255"


def _correct(
    classifier: nn.Module, image_set: ImageSet, batch_size: int, device: torch.device | str
) -> Tensor:
    stream = batches(image_set, batch_size, device)
    return torch.cat([predict(classifier, images) == labels for images, labels in stream]).cpu()
