"""DeACL's loss against plain loops in float64."""

import math

import pytest
import torch

from solo_adv import UserError
from solo_adv.objectives import RobustDistillation, Update


def cosine(one, other):
    dot = sum(a * b for a, b in zip(one, other, strict=True))
    return dot / math.sqrt(sum(a * a for a in one) * sum(b * b for b in other))


@pytest.mark.parametrize("crops", [1, 3])
def test_it_is_the_published_formula(crops):
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(2 * crops, 5, 7, dtype=torch.float64, generator=generator)
    taught = torch.randn(crops, 5, 7, dtype=torch.float64, generator=generator).repeat(2, 1, 1)
    update = Update(
        z, torch.arange(2 * crops) >= crops, torch.zeros(5, dtype=torch.long), teacher=taught
    )
    rows = [part.flatten(0, 1).tolist() for part in (z[:crops], z[crops:], taught[:crops])]
    count = crops * 5
    agreement = sum(cosine(c, t) for c, _, t in zip(*rows, strict=True)) / count
    consistency = sum(cosine(a, c) for c, a, _ in zip(*rows, strict=True)) / count
    away = -sum(cosine(a, t) for _, a, t in zip(*rows, strict=True)) / count

    objective = RobustDistillation(consistency=1.5)
    loss = objective(update)
    assert loss.agreement.item() == pytest.approx(agreement, rel=1e-12)
    assert loss.consistency.item() == pytest.approx(consistency, rel=1e-12)
    assert loss.total.item() == pytest.approx(-agreement - 1.5 * consistency, rel=1e-12)
    assert objective.crafting(update).item() == pytest.approx(away, rel=1e-12)


def test_a_negative_weight_is_refused():
    with pytest.raises(UserError, match=r"method_kwargs\.consistency"):
        RobustDistillation(consistency=-1.0)
