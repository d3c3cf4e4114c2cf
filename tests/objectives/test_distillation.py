"""The losses of DeACL and FARE against plain loops in float64."""

import math

import pytest
import torch

from solo_adv import UserError
from solo_adv.objectives import FeatureDistance, RobustDistillation, Update


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


@pytest.mark.parametrize("crops", [1, 3])
def test_fares_loss_is_the_squared_distance_summed_over_features(crops):
    generator = torch.Generator().manual_seed(0)
    z, taught = torch.randn(2, crops, 5, 7, dtype=torch.float64, generator=generator)
    update = Update(z, torch.ones(crops, dtype=torch.bool), torch.zeros(5), teacher=taught)
    rows = zip(z.flatten(0, 1).tolist(), taught.flatten(0, 1).tolist(), strict=True)
    distances = [sum((a - b) ** 2 for a, b in zip(*row, strict=True)) for row in rows]
    expected = sum(distances) / len(distances)
    loss = FeatureDistance()(update)
    assert loss.total.item() == pytest.approx(expected, rel=1e-12)
    assert FeatureDistance().crafting(update).item() == pytest.approx(expected, rel=1e-12)
    assert loss._asdict().keys() == {"total", "cosine"}


def test_fares_loss_is_exact_under_autocast():
    z = torch.full((1, 2, 1000), 1 + 2**-10)
    update = Update(z, torch.ones(1, dtype=torch.bool), torch.zeros(2), teacher=torch.ones_like(z))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert FeatureDistance()(update).total.item() == pytest.approx(1000 * 2**-20)


def test_fares_loss_penalises_collapse():
    taught = torch.randn(1, 5, 7, generator=torch.Generator().manual_seed(0))
    same, one = (
        FeatureDistance()(
            Update(z, torch.ones(1, dtype=torch.bool), torch.zeros(5), teacher=taught)
        )
        for z in (taught, taught[:, :1].expand_as(taught))
    )
    assert same.total == 0
    assert one.total > 1
