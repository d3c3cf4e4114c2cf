"""Cheap measurements that show whether an evaluation can be believed; `alarms.py` judges them."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from solo_adv.adversaries import PGD, Ball
from solo_adv.encoders.classifier import frozen
from solo_adv.evaluation.attacks.bench import Bench
from solo_adv.evaluation.attacks.crafting import IN_FLOAT32
from solo_adv.evaluation.attacks.judging import cross_entropy_of, survivors

UNBOUNDED_STEPS, UNBOUNDED_STEP_SIZE = 40, 0.05
"""The step is a share of the radius."""
ALONE = 4


@dataclass(frozen=True, kw_only=True)
class Probes:
    """What was measured on ``images`` test images. Counts are of images."""

    images: int
    classes: int
    training_modules: list[str]
    """Parts of the model in training mode."""
    batch_dependence: float
    """Largest relative change of an image's logits when other images are in the batch."""
    repeat_difference: float
    """Largest relative difference of an image's logits between two passes."""
    softmax_output: bool
    """Whether the outputs are probabilities."""
    clean_correct: int
    zero_gradients: int
    """Correctly classified images on which the gradient that attacks follow is zero."""
    zero_epsilon_correct: int
    """Correct under an attack of radius 0."""
    epsilon_text: str
    """Of the comparison of steps."""
    steps: int
    steps_correct: int
    more_steps_correct: int
    """Correct after twice as many steps."""
    repaired_by_more_steps: int
    """Broken after ``steps`` steps, but not after twice as many."""
    broken_by_more_steps: int
    unbounded_correct: int
    """Correct under an attack that may change every pixel to any value."""


def probe(bench: Bench, *, num_classes: int, ball: Ball, steps: int, step_size: float) -> Probes:
    """Measure all of it on the images of ``bench``, a few hundred, in float32.

    Args:
        bench: its classifier is probed in the state in which it is, be it training mode.
        ball, steps, step_size: of the attack that is compared with one of twice the steps.
    """
    classifier = bench.classifier
    training = [name or "(the model)" for name, m in classifier.named_modules() if m.training]
    # Probing must not move running statistics; that some part was training is on record.
    with frozen(classifier):
        outputs: list[Tensor] = []
        again, labels, vanished = [], [], []
        for images, targets in bench.batches():
            with torch.no_grad():
                if not outputs:
                    alone = classifier(images[:ALONE])
                outputs.append(classifier(images))
                again.append(classifier(images))
            labels.append(targets)
            vanished.append(_gradient_is_zero(classifier, images, targets))
        first = torch.cat(outputs)
        right = first.argmax(dim=1) == torch.cat(labels)

        def under(ball: Ball, step_size: float, steps: int) -> Tensor:
            attack = PGD(ball.epsilon, step_size, steps, norm=ball.norm, batch_norm="eval")
            survived, _ = survivors(in_float32, [attack], ball=ball, stage="Probes")
            return survived

        in_float32 = replace(bench, crafting=IN_FLOAT32)
        free = ball.largest(images)
        few, many = (under(ball, step_size, count) for count in (steps, 2 * steps))
        return Probes(
            images=len(bench.images),
            classes=num_classes,
            training_modules=training,
            batch_dependence=_difference(alone, first[:ALONE]),
            repeat_difference=_difference(first, torch.cat(again)),
            softmax_output=_are_probabilities(first),
            clean_correct=int(right.sum()),
            zero_gradients=int((torch.cat(vanished) & right).sum()),
            zero_epsilon_correct=int(under(Ball(ball.norm, 0.0), step_size, 1).sum()),
            epsilon_text=ball.text,
            steps=steps,
            steps_correct=int(few.sum()),
            more_steps_correct=int(many.sum()),
            repaired_by_more_steps=int((many & ~few).sum()),
            broken_by_more_steps=int((few & ~many).sum()),
            unbounded_correct=int(
                under(free, UNBOUNDED_STEP_SIZE * free.epsilon, UNBOUNDED_STEPS).sum()
            ),
        )


def _gradient_is_zero(classifier: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """For which images (N,) every input's gradient vanishes: bool."""
    with torch.enable_grad():
        images = images.detach().requires_grad_()
        loss = cross_entropy_of(classifier, labels)(images)
        (gradient,) = torch.autograd.grad(loss, images)
    return gradient.flatten(1).nan_to_num(nan=0.0).eq(0).all(dim=1)


def _difference(one: Tensor, other: Tensor) -> float:
    """Largest distance between two outputs (N, K) for an image, relative to their length."""
    length = one.norm(dim=1).clamp(min=1e-10)
    return float(((one - other).norm(dim=1) / length).nan_to_num(nan=0.0).max())


def _are_probabilities(outputs: Tensor) -> bool:
    inside = (outputs >= 0) & (outputs <= 1)
    return bool(inside.all()) and bool(((outputs.sum(dim=1) - 1).abs() < 1e-4).all())
