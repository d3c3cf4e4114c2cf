"""Measures accuracy without attack and under white-box attacks end to end."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from solo_adv.adversaries import AUTO, PGD, Ball, LossOf
from solo_adv.encoders.classifier import class_of, frozen, predict
from solo_adv.evaluation.attacks.bench import Bench
from solo_adv.evaluation.attacks.losses import CHOICES, LOSSES, USUAL_LOSS
from solo_adv.evaluation.attacks.seeds import generator_for
from solo_adv.evaluation.images import my_share
from solo_adv.report.classes import Classes
from solo_adv.report.measurement import CLEAN, TOP5, Measurement
from solo_adv.support.checks import choice, whole
from solo_adv.support.hits import hits
from solo_adv.support.processes import merged, most
from solo_adv.support.progress import track

ROUNDING = 1e-6
"""How far a perturbation may lie outside the threat model because of rounding. For an epsilon above
1, it is a share of epsilon."""
_SHIFT = 2
"""Added to a predicted class, so that 0 means that another process has the image."""


class CleanAccuracy(NamedTuple):
    """Accuracy without attack."""

    top1: Measurement
    """How often the first guess is correct."""
    top5: Measurement
    """How often one of the first five guesses is correct."""


class Attack(Protocol):
    """The interface of an attack, which :class:`solo_adv.adversaries.PGD` has."""

    def perturb(
        self, crops: Tensor, loss_of: LossOf, generator: torch.Generator | None
    ) -> Tensor: ...


def evaluate_pgd(
    bench: Bench,
    *,
    epsilon: float | str,
    norm: str = "linf",
    steps: int = 20,
    step_size: float | str = AUTO,
    random_start: bool = False,
    restarts: int = 1,
    loss: str = USUAL_LOSS,
) -> Measurement:
    """Measure the accuracy under PGD, in the worst case over ``restarts`` and losses.

    An image counts only if it is classified correctly without attack and after every run.

    Args:
        bench: the classifier and the images.
        epsilon: radius of the ball, as :meth:`Ball.length` takes it, such as ``"8/255"``.
        norm: norm of the ball, a key of ``NORMS``.
        steps: number of steps.
        step_size: length of each step, as :meth:`Ball.length` takes it.
        random_start: whether the first run starts at random instead of at zero. Later runs always
            start at random.
        restarts: how often to attack on each loss.
        loss: what PGD ascends: ``cross_entropy``, ``margin`` (between the largest other logit and
            the true one), or ``both``. The cross-entropy is usual, but misses images where logits
            are small.

    Raises:
        UserError: a setting is out of range, part of the classifier is in training mode, or there
            is no image.

    Source:
        Paper section 3.2 (PGD-20); Madry et al. 2017, https://arxiv.org/abs/1706.06083
    """
    choice("loss", loss, CHOICES)
    attacks = pgd_runs(epsilon, step_size, steps, random_start, restarts, norm=norm)
    *_, worst = pgd_in_turn(bench, attacks, CHOICES[loss])
    return worst


def pgd_runs(
    epsilon: float | str,
    step_size: float | str,
    steps: int,
    random_start: bool,
    restarts: int,
    *,
    norm: str,
) -> list[PGD]:
    """The runs of one attack by PGD; for the arguments see :func:`evaluate_pgd`.

    Raises:
        UserError: a setting is out of range.
    """
    whole("restarts", restarts, 1)
    starts = [random_start, *[True] * (restarts - 1)]
    return [PGD(epsilon, step_size, steps, s, norm=norm, batch_norm="eval") for s in starts]


def pgd_in_turn(
    bench: Bench, attacks: Sequence[PGD], losses: Sequence[str]
) -> Iterator[Measurement]:
    """Measure the accuracy under PGD on one loss, then in the worst case with each further loss.

    Args:
        bench: the classifier and the images.
        attacks: the runs of PGD, from :func:`pgd_runs`.
        losses: keys of ``LOSSES``.

    Yields:
        A measurement after each loss.
    """
    first = attacks[0]
    ball, steps, step_size = first.ball, first.steps, first.step_size
    notes = [bench.crafting.note] if bench.crafting.note else []
    if steps * step_size < ball.epsilon * (1 - 1e-9):
        notes.append(
            f"{steps} steps of {step_size:g} reach only {steps * step_size:g}, less than epsilon "
            f"({ball.epsilon:g}): the attack is weaker than its epsilon says. Take more or longer "
            "steps."
        )
    seen: Tensor | None = None
    broken: dict[str, int] = {}
    for loss in losses:
        begun = time.perf_counter()
        before = seen
        seen, left = seen_under(
            bench, attacks, ball=ball, stage=f"PGD-{steps} at {ball.text}", loss=loss, seen=seen
        )
        notes = [*left, *notes]
        survived = seen == labels_of(bench)
        if before is not None:
            broken[loss] = int((before == labels_of(bench)).sum() - survived.sum())
        variant = {"loss": loss, "variant": loss}
        if broken:
            variant = {"loss": "both", "variant": "both losses"}
        yield Measurement(
            name=f"PGD-{steps}",
            correct=int(survived.sum()),
            total=len(survived),
            settings={
                **asdict(ball),
                "steps": steps,
                "step_size": step_size,
                "restarts": len(attacks),
                "random_start": first.random_start,
                **({} if variant["loss"] == USUAL_LOSS else variant),
            },
            notes=tuple(notes),
            details=dict(broken),
            seconds=round(time.perf_counter() - begun, 3),
            classes=by_class(bench, survived, seen),
        )


def survivors(
    bench: Bench,
    attacks: Sequence[Attack],
    *,
    ball: Ball,
    stage: str = "Attack",
    loss: str = USUAL_LOSS,
) -> tuple[Tensor, list[str]]:
    """Find the images that are classified correctly without attack and after each of ``attacks``.

    Args:
        bench: the classifier and N images.
        attacks: the attacks, in their order.
        ball: the perturbations that are allowed.
        stage: name of the attacks for the progress bar.
        loss: what the attacks ascend, a key of ``LOSSES``.

    Returns:
        For each image whether it survived, bool (N,), and notes for the reader of the result.
    """
    seen, notes = seen_under(bench, attacks, ball=ball, stage=stage, loss=loss)
    return seen == labels_of(bench), notes


def seen_under(
    bench: Bench,
    attacks: Sequence[Attack],
    *,
    ball: Ball,
    stage: str = "Attack",
    loss: str = USUAL_LOSS,
    seen: Tensor | None = None,
) -> tuple[Tensor, list[str]]:
    """Find what each image is seen as after ``attacks``, in the worst case.

    This is the first wrong class, be it without attack or after one of them, or the right one. Each
    attack sees only the images that survived the ones before it. Every perturbation is checked
    and, if it leaves the ball or the pixel box, projected before the verdict.

    Args:
        bench: the classifier and N images.
        attacks: the attacks, in their order.
        ball: the perturbations that are allowed.
        stage: name of the attacks for the progress bar.
        loss: what the attacks ascend, a key of ``LOSSES``.
        seen: what each image was seen as under attacks before these; None if there were none.

    Returns:
        The class that each image is seen as, long (N,), -1 where the scores are not finite; and
        notes for the reader of the result.
    """
    bench.check()
    labels = labels_of(bench)
    excess = torch.zeros(())
    with frozen(bench.classifier):
        network = bench.network_of_attacks()
        seen = seen_as_they_are(bench) if seen is None else seen
        shown = stage if loss == USUAL_LOSS else f"{stage} ({loss})"
        first = len(attacks) * list(LOSSES).index(loss)  # runs on each loss start elsewhere
        for number, attack in enumerate(attacks, first):
            places = (seen == labels).nonzero().squeeze(1)
            found = torch.zeros(len(seen), dtype=torch.long)
            share = my_share(len(places), bench.batch_size)
            for batch in track(bench.my_batches(places), shown, share):
                loss_of = LOSSES[loss](network, batch.labels)
                generator = generator_for(bench.seed, number, batch.number, device=bench.device)
                delta = attack.perturb(batch.images, loss_of, generator)
                judged, beyond = admitted(batch.images, batch.images + delta, ball)
                excess = torch.maximum(excess, beyond)
                found[batch.places] = predict(bench.classifier, judged).cpu() + _SHIFT
            found = merged(found)
            seen = torch.where(found > 0, found - _SHIFT, seen)
    excess = most(excess)
    left = (
        f"Perturbations left the threat model by up to {excess.item():g} and were projected back."
    )
    return seen, [left] if excess > 0 else []


def admitted(images: Tensor, attacked: Tensor, ball: Ball) -> tuple[Tensor, Tensor]:
    """Project attacked images that lie outside the threat model onto it.

    An image lies outside if it is further from the ball or the pixel box than rounding explains.

    Args:
        images: clean images (N, 3, H, W), pixels in [0, 1].
        attacked: the attacked images, of the same shape.
        ball: the perturbations that are allowed.

    Returns:
        The images to judge (N, 3, H, W), and how far the worst one lay outside; 0 if none did.
    """
    delta = attacked - images
    allowed = ball.project(delta.clone(), images)
    beyond = ball.distance(delta - allowed)
    outside = beyond > ROUNDING * max(1.0, ball.epsilon)
    judged = torch.where(outside.view(-1, 1, 1, 1), images + allowed, attacked)
    return judged, torch.where(outside, beyond, 0).max().cpu()


@torch.no_grad()
def clean_accuracy(bench: Bench) -> CleanAccuracy:
    """Measure the accuracy without attack.

    Raises:
        UserError: part of the classifier is in training mode, or there is no image.
    """
    bench.check()
    begun = time.perf_counter()
    counts = torch.zeros(2, dtype=torch.long)
    right, seen = torch.zeros(2, len(bench.images), dtype=torch.long)
    for batch in bench.my_batches():
        logits = bench.classifier(batch.images)
        finite = logits.isfinite().all(dim=1, keepdim=True)
        hit = hits(logits, batch.labels) & finite
        counts += hit.sum(dim=0).cpu()
        right[batch.places] = hit[:, 0].long().cpu()
        seen[batch.places] = class_of(logits).cpu() + _SHIFT
    top1, top5 = merged(counts).tolist()
    classes = by_class(bench, merged(right) > 0, merged(seen) - _SHIFT)
    total, seconds = len(bench.images), round(time.perf_counter() - begun, 3)
    return CleanAccuracy(
        Measurement(name=CLEAN, correct=top1, total=total, seconds=seconds, classes=classes),
        Measurement(name=TOP5, correct=top5, total=total),
    )


@torch.no_grad()
def seen_as_they_are(bench: Bench) -> Tensor:
    """The class that each image is seen as without attack; long (N,), -1 for none, on the CPU."""
    found = torch.zeros(len(bench.images), dtype=torch.long)
    for batch in bench.my_batches():
        found[batch.places] = predict(bench.classifier, batch.images).cpu() + _SHIFT
    return merged(found) - _SHIFT


def correct_as_they_are(bench: Bench) -> Tensor:
    """Which images (N,) are classified correctly without attack; bool, on the CPU."""
    return seen_as_they_are(bench) == labels_of(bench)


def labels_of(bench: Bench) -> Tensor:
    """The labels of the images, long (N,), on the CPU."""
    return bench.images.labels.cpu()


def by_class(bench: Bench, right: Tensor, seen: Tensor | None = None) -> Classes:
    """Count the images of each class.

    Args:
        bench: the images.
        right: whether each was classified correctly, bool (N,).
        seen: what each was seen as, long (N,), -1 for none; None if that is not known.
    """
    return Classes.counted(
        labels_of(bench).tolist(),
        right.tolist(),
        None if seen is None else seen.tolist(),
        num_classes=bench.images.num_classes,
    )
