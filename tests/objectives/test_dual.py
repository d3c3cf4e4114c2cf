"""ACL's dual-stream loss against a plain double loop in float64."""

import math

import pytest
import torch

from solo_adv.objectives import DualNTXent, Update


def update_of(z):
    half = len(z) // 2
    return Update(z, torch.arange(len(z)) >= half, torch.zeros(z.shape[1], dtype=torch.long))


def naive_nt_xent(first, second, temperature):
    """The mean over both views of all images of -log(positive / all others)."""
    rows = [*first.tolist(), *second.tolist()]
    unit = [[x / math.sqrt(sum(y * y for y in row)) for x in row] for row in rows]
    losses = []
    for i, anchor in enumerate(unit):
        similar = [
            math.exp(sum(a * b for a, b in zip(anchor, other, strict=True)) / temperature)
            for other in unit
        ]
        positive = similar[(i + len(first)) % len(unit)]
        losses.append(-math.log(positive / (sum(similar) - similar[i])))
    return sum(losses) / len(losses)


@pytest.mark.parametrize("temperature", [0.5, 0.1])
def test_it_is_the_mean_of_both_streams(temperature):
    z = torch.randn(4, 5, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    objective = DualNTXent(temperature=temperature)
    loss = objective(update_of(z))
    clean = naive_nt_xent(z[0], z[1], temperature)
    attacked = naive_nt_xent(z[2], z[3], temperature)
    assert loss.clean_nt_xent.item() == pytest.approx(clean, rel=1e-12)
    assert loss.attacked_nt_xent.item() == pytest.approx(attacked, rel=1e-12)
    assert loss.total.item() == pytest.approx((clean + attacked) / 2, rel=1e-12)
    assert objective.crafting(update_of(z)).item() == pytest.approx(attacked, rel=1e-12)
