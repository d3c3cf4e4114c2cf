"""Attacks a few test images for the picture of a report."""

import torch
from torch import Tensor

from solo_adv.adversaries import PGD
from solo_adv.encoders.classifier import frozen, predict
from solo_adv.evaluation.attacks.bench import Bench
from solo_adv.evaluation.attacks.judging import cross_entropy_of
from solo_adv.evaluation.images import batches
from solo_adv.report.examples import Examples

CHANNELS = 3


def attack_examples(bench: Bench, adversary: PGD, *, count: int = 6) -> Examples:
    """Attack ``count`` images, which are drawn by the seed and not chosen by their outcome."""
    classifier, image_set = bench.classifier, bench.drawn(count).images
    images, labels = next(batches(image_set, len(image_set), bench.device))
    generator = torch.Generator(bench.device).manual_seed(bench.seed)
    with frozen(classifier):
        delta = adversary.perturb(images, cross_entropy_of(classifier, labels), generator)
        before, after = predict(classifier, images), predict(classifier, images + delta)

    def names(classes: Tensor) -> list[str]:
        return [_name(image_set.classes, index) for index in classes.tolist()]

    return Examples(
        clean=images[:, :CHANNELS].cpu(),
        attacked=(images + delta)[:, :CHANNELS].cpu(),
        ball=adversary.ball,
        truth=names(labels),
        before=names(before),
        after=names(after),
    )


def _name(classes: tuple[str, ...], index: int) -> str:
    if index < 0:
        return "(not finite)"
    return classes[index] if index < len(classes) else str(index)
