"""TRADES against a brute-force float64 formula, and its use as an objective on pseudo-labels."""

import math

import pytest
import torch
from torch import Tensor

from solo_adv.objectives import PseudoTrades, Update, divergence_of, trades_loss
from solo_adv.support.errors import UserError


def probabilities(logits: list[float]) -> list[float]:
    powers = [math.exp(value - max(logits)) for value in logits]
    return [power / sum(powers) for power in powers]


def brute_force(clean: Tensor, attacked: Tensor, labels: Tensor, beta: float) -> tuple[float, ...]:
    wrong, apart, labelled = 0.0, 0.0, 0
    for row, label in enumerate(labels.tolist()):
        p, q = probabilities(clean[row].tolist()), probabilities(attacked[row].tolist())
        if label >= 0:
            wrong -= math.log(p[label])
            labelled += 1
        apart += sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))
    wrong, apart = wrong / max(labelled, 1), apart / len(labels)
    return wrong + beta * apart, wrong, apart


def logits(seed: int, *shape: int) -> Tensor:
    return 3 * torch.randn(
        shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)
    )


@pytest.mark.parametrize("labels", [[0, 2, 1, 4, 3, 2], [0, -1, 1, -1, 3, 2], [-1] * 6])
def test_equals_brute_force(labels: list[int]) -> None:
    clean, attacked = logits(0, 6, 5), logits(1, 6, 5)
    found = trades_loss(clean, attacked, torch.tensor(labels), 6.0)
    expected = brute_force(clean, attacked, torch.tensor(labels), 6.0)
    assert [float(term) for term in found] == pytest.approx(expected, rel=1e-12)


def test_gradient_flows_into_clean_and_attacked_logits_as_differences_say() -> None:
    clean, attacked = (logits(seed, 3, 4).requires_grad_() for seed in (2, 3))
    labels = torch.tensor([1, 0, 3])
    assert torch.autograd.gradcheck(
        lambda c, a: trades_loss(c, a, labels, 2.0).total, (clean, attacked)
    )


def test_equal_predictions_do_not_diverge() -> None:
    clean = logits(4, 5, 3)
    assert float(divergence_of(clean, clean + 7)) == pytest.approx(0, abs=1e-15)


def test_the_objective_repeats_the_clusters_for_every_crop() -> None:
    z, labels = logits(5, 4, 6, 5), torch.tensor([0, 1, 2, 3, 4, 0])
    update = Update(z, torch.tensor([False, False, True, True]), labels)
    objective = PseudoTrades(beta=3.0)
    expected = brute_force(
        torch.cat([z[0], z[1]]), torch.cat([z[2], z[3]]), torch.cat([labels, labels]), 3.0
    )
    assert [float(term) for term in objective(update)] == pytest.approx(expected, rel=1e-12)
    assert float(objective.crafting(update)) == pytest.approx(expected[2], rel=1e-12)


def test_a_half_precision_loss_is_computed_in_float32() -> None:
    clean, attacked = (logits(seed, 4, 3).bfloat16() for seed in (6, 7))
    found = trades_loss(clean, attacked, torch.tensor([0, 1, 2, 0]), 6.0)
    assert found.total.dtype == torch.float32


def test_a_negative_beta_is_refused() -> None:
    with pytest.raises(UserError, match="beta"):
        PseudoTrades(beta=-1.0)
