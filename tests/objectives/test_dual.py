"""ACL's dual-stream loss against a plain double loop in float64."""

import math

import pytest
import torch

from solo_adv import UserError
from solo_adv.objectives import DualNTXent, ShiftingDualNTXent, Update


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


@pytest.mark.parametrize("number", [float, torch.tensor])
@pytest.mark.parametrize("shift", [0.0, 2 / 3, 1, 3])
@pytest.mark.parametrize("stages", [0, 20])
def test_the_weight_shifts_to_the_attacked_stream(number, shift, stages):
    z = torch.randn(4, 5, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    objective = ShiftingDualNTXent(shift=shift, stages=stages)
    for progress in (0.0, 0.024, 0.03, 0.5, 0.999, 1.0):
        reached = min(int(progress * 20), 19) / 20 if stages else progress
        weight = min(1 + shift * reached, 2)
        loss = objective(update_of(z)._replace(progress=number(progress)))
        clean = naive_nt_xent(z[0], z[1], 0.5)
        attacked = naive_nt_xent(z[2], z[3], 0.5)
        expected = ((2 - weight) * clean + weight * attacked) / 2
        assert loss.total.item() == pytest.approx(expected, rel=1e-6)
        assert objective.crafting(update_of(z)).item() == pytest.approx(attacked, rel=1e-12)


@pytest.mark.parametrize("wrong", [{"shift": -1}, {"shift": "2/3"}, {"stages": 0.5}])
def test_schedules_that_make_no_sense(wrong):
    with pytest.raises(UserError, match=f"method_kwargs.{next(iter(wrong))}"):
        ShiftingDualNTXent(**wrong)
