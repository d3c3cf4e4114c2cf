"""Attacks a few test images for the pages and the picture of a report."""

import torch
from torch import Tensor

from solo_adv.adversaries import PGD
from solo_adv.encoders.classifier import frozen, predict
from solo_adv.evaluation.attacks.bench import Bench
from solo_adv.evaluation.attacks.losses import cross_entropy_of
from solo_adv.evaluation.images import batches
from solo_adv.report.examples import Examples

CHANNELS = 3


def attack_examples(bench: Bench, adversary: PGD, *, count: int = 24) -> Examples:
    """Attack ``count`` images, which are drawn by the seed and not chosen by their outcome."""
    classifier, image_set = bench.classifier, bench.drawn(count).images
    generator = torch.Generator(bench.device).manual_seed(bench.seed)
    clean, attacked, truth, before, after = [], [], [], [], []
    with frozen(classifier):
        for images, labels in batches(image_set, bench.batch_size, bench.device):
            delta = adversary.perturb(images, cross_entropy_of(classifier, labels), generator)
            clean.append(images[:, :CHANNELS].cpu())
            attacked.append((images + delta)[:, :CHANNELS].cpu())
            truth.append(labels)
            before.append(predict(classifier, images))
            after.append(predict(classifier, images + delta))

    def names(classes: list[Tensor]) -> list[str]:
        return [_name(image_set.classes, index) for index in torch.cat(classes).tolist()]

    return Examples(
        clean=torch.cat(clean),
        attacked=torch.cat(attacked),
        ball=adversary.ball,
        truth=names(truth),
        before=names(before),
        after=names(after),
    )


def _name(classes: tuple[str, ...], index: int) -> str:
    if index < 0:
        return "(not finite)"
    return classes[index] if index < len(classes) else str(index)
