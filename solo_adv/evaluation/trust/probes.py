"""Cheap measurements that show whether an evaluation can be trusted. `alarms.py` judges them."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from solo_adv.adversaries import PGD, Ball
from solo_adv.encoders.classifier import frozen
from solo_adv.evaluation.attacks.bench import Bench
from solo_adv.evaluation.attacks.crafting import IN_FLOAT32
from solo_adv.evaluation.attacks.judging import survivors
from solo_adv.evaluation.attacks.losses import USUAL_LOSS, cross_entropy_of

UNBOUNDED_STEPS, UNBOUNDED_STEP_SIZE = 40, 0.05
"""Number and length of the steps of the unbounded attack. The length is a share of the radius."""
ALONE = 4
"""Number of images in the small batch that is compared with a large one."""


@dataclass(frozen=True, kw_only=True)
class Probes:
    """What was measured on ``images`` test images. Counts are numbers of images."""

    images: int
    classes: int
    training_modules: list[str]
    """Names of the model's parts that are in training mode."""
    batch_dependence: float
    """Largest relative change of an image's logits when the batch has other images, too."""
    repeat_difference: float
    """Largest relative difference of an image's logits between two passes."""
    softmax_output: bool
    """Whether the outputs are probabilities."""
    clean_correct: int
    zero_gradients: int
    """Correctly classified images whose gradient, which attacks follow, is exactly zero."""
    zero_epsilon_correct: int
    """Images that are correct under an attack of radius 0."""
    epsilon_text: str
    """Radius of the attacks whose numbers of steps are compared, such as ``8/255``."""
    steps: int
    """Number of steps of the shorter attack."""
    steps_correct: int
    """Images that are correct after the shorter attack."""
    more_steps_correct: int
    """Images that are correct after an attack of twice as many steps."""
    repaired_by_more_steps: int
    """Images that the shorter attack broke and the longer one did not."""
    broken_by_more_steps: int
    """Images that the longer attack broke and the shorter one did not."""
    margin_correct: int
    """Images that are correct after the shorter attack if it ascends the margin between logits
    instead of the cross-entropy."""
    repaired_by_margin: int
    """Images that the attack on the cross-entropy broke and that on the margin did not."""
    broken_by_margin: int
    """Images that the attack on the margin broke and that on the cross-entropy did not."""
    unbounded_correct: int
    """Images that are correct under an attack that may change every pixel to any value."""


def probe(bench: Bench, *, num_classes: int, ball: Ball, steps: int, step_size: float) -> Probes:
    """Measure all probes on the images of ``bench``, in float32. A few hundred images are enough.

    Args:
        bench: the classifier, which is probed in its current mode, and the images.
        num_classes: number of classes.
        ball: perturbations that the attacks are allowed.
        steps: number of steps of the shorter attack; the longer one has twice as many.
        step_size: length of a step of these attacks.
    """
    classifier = bench.classifier
    training = [name or "(the model)" for name, m in classifier.named_modules() if m.training]
    # `training` records the mode. The passes themselves run in eval mode, because they must not
    # change running statistics.
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

        def under(ball: Ball, step_size: float, steps: int, loss: str = USUAL_LOSS) -> Tensor:
            attack = PGD(ball.epsilon, step_size, steps, norm=ball.norm, batch_norm="eval")
            survived, _ = survivors(in_float32, [attack], ball=ball, stage="Probes", loss=loss)
            return survived

        in_float32 = replace(bench, crafting=IN_FLOAT32)
        free = ball.largest(images)
        few, many = (under(ball, step_size, count) for count in (steps, 2 * steps))
        margin = under(ball, step_size, steps, "margin")
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
            margin_correct=int(margin.sum()),
            repaired_by_margin=int((margin & ~few).sum()),
            broken_by_margin=int((few & ~margin).sum()),
            unbounded_correct=int(
                under(free, UNBOUNDED_STEP_SIZE * free.epsilon, UNBOUNDED_STEPS).sum()
            ),
        )


def _gradient_is_zero(classifier: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """For each image, whether the gradient of all its pixels is zero: bool (N,)."""
    with torch.enable_grad():
        images = images.detach().requires_grad_()
        loss = cross_entropy_of(classifier, labels)(images)
        (gradient,) = torch.autograd.grad(loss, images)
    return gradient.flatten(1).nan_to_num(nan=0.0).eq(0).all(dim=1)


def _difference(one: Tensor, other: Tensor) -> float:
    """The largest distance between an image's two outputs (N, K), relative to their length."""
    length = one.norm(dim=1).clamp(min=1e-10)
    return float(((one - other).norm(dim=1) / length).nan_to_num(nan=0.0).max())


def _are_probabilities(outputs: Tensor) -> bool:
    inside = (outputs >= 0) & (outputs <= 1)
    return bool(inside.all()) and bool(((outputs.sum(dim=1) - 1).abs() < 1e-4).all())
