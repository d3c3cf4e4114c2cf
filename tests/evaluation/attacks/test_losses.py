"""What attacks ascend, against formulas and against the exact accuracy of a linear classifier."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from solo_adv.evaluation import evaluate_pgd
from solo_adv.evaluation.attacks.judging import pgd_in_turn, pgd_runs
from solo_adv.evaluation.attacks.losses import LOSSES
from solo_adv.support.errors import UserError

EPSILON = 4 / 255


def robust_count(bench):
    """How many images no perturbation in the ball breaks: their pixels are far from 0 and 1."""
    weight = bench.classifier.head.weight.double()
    images, labels = bench.images.images.flatten(1).double() / 255, bench.images.labels
    logits = images @ weight.T
    others = logits + EPSILON * (weight - weight[labels].unsqueeze(1)).abs().sum(2)
    others.scatter_(1, labels[:, None], -torch.inf)
    return int((others.amax(1) < logits.gather(1, labels[:, None])[:, 0]).sum())


@pytest.mark.parametrize("name", LOSSES)
def test_losses_are_the_sum_over_images(name):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(5, 4, generator=generator, dtype=torch.float64)
    labels = torch.tensor([0, 3, 2, 2, 1])
    rows = zip(logits.tolist(), labels.tolist(), strict=True)
    expected = sum(
        torch.tensor(row).double().logsumexp(0).item() - row[own]
        if name == "cross_entropy"
        else max(z for k, z in enumerate(row) if k != own) - row[own]
        for row, own in rows
    )
    found = LOSSES[name](nn.Identity(), labels)(logits)
    assert found.item() == pytest.approx(expected, rel=1e-6)


def test_the_cross_entropy_misses_images_if_logits_are_small_and_the_margin_does_not(linear_bench):
    exact = robust_count(linear_bench(1.0))
    left = {
        (loss, scale): evaluate_pgd(
            linear_bench(scale), epsilon=EPSILON, step_size=EPSILON, steps=5, loss=loss
        ).correct
        for loss in ("cross_entropy", "margin", "both")
        for scale in (1e-3, 1.0)
    }
    assert 40 < exact < 300
    assert min(left.values()) >= exact
    assert left["margin", 1e-3] == left["margin", 1.0]
    assert left["margin", 1.0] <= exact + 15
    assert left["cross_entropy", 1e-3] > left["cross_entropy", 1.0] + 15
    assert left["cross_entropy", 1e-3] > left["margin", 1e-3] + 15


def test_both_is_the_worst_case_of_each_image(linear_bench):
    bench = linear_bench(1e-3, 100)
    settings = {"epsilon": EPSILON, "step_size": EPSILON, "steps": 5}

    def right(loss):
        """The images that survive, each judged alone."""
        return {
            place
            for place in range(100)
            if evaluate_pgd(
                replace(bench, images=bench.images.subset([place])), **settings, loss=loss
            ).correct
        }

    usual, margin = right("cross_entropy"), right("margin")
    assert usual - margin
    runs = pgd_runs(EPSILON, EPSILON, 5, False, 1, norm="linf")
    first, worst = pgd_in_turn(bench, runs, ("cross_entropy", "margin"))
    assert first.figure == evaluate_pgd(bench, **settings).figure
    assert first.correct == len(usual)
    assert worst.correct == len(usual & margin)
    assert worst.details == {"margin": len(usual - margin)}
    assert sum(worst.classes.correct) == worst.correct
    assert worst.figure == evaluate_pgd(bench, **settings, loss="both").figure


def test_labels_tell_what_was_ascended(linear_bench):
    bench = linear_bench(1.0, 20)
    labels = {
        loss: evaluate_pgd(bench, epsilon="4/255", steps=2, loss=loss).label
        for loss in ("cross_entropy", "margin", "both")
    }
    assert labels == {
        "cross_entropy": "PGD-2 at 4/255",
        "margin": "PGD-2 (margin) at 4/255",
        "both": "PGD-2 (both losses) at 4/255",
    }


def test_restarts_on_each_loss(linear_bench):
    bench = linear_bench(1e-3, 100)
    once, often = (
        evaluate_pgd(bench, epsilon=EPSILON, steps=1, random_start=True, restarts=n, loss="both")
        for n in (1, 4)
    )
    assert often.correct <= once.correct
    assert often.settings["restarts"] == 4


@pytest.mark.parametrize("loss", LOSSES)
def test_outputs_without_gradient_are_refused(loss):
    def detached(images):
        return images.flatten(1).detach()

    images = torch.rand(2, 3, 1, 1).requires_grad_()
    with pytest.raises(UserError, match="no gradient with respect to the image"):
        LOSSES[loss](detached, torch.tensor([0, 1]))(images)


def test_an_unknown_loss_is_refused(linear_bench):
    with pytest.raises(UserError, match=r"loss 'hinge'.*margin"):
        evaluate_pgd(linear_bench(1.0, 4), epsilon=0.1, loss="hinge")


def test_the_cross_entropy_is_torchs():
    logits, labels = torch.randn(3, 4), torch.tensor([1, 0, 3])
    found = LOSSES["cross_entropy"](nn.Identity(), labels)(logits)
    assert found == F.cross_entropy(logits, labels, reduction="sum")
