"""Invariant regularisation against brute force in float64."""

import math

import pytest
import torch
import torch.nn.functional as F

from solo_adv.objectives import DualNTXent, Update, adversarial_invariance, standard_invariance
from solo_adv.support.errors import UserError

TEMPERATURE = 0.5


def unit(seed, *shape):
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(*shape, dtype=torch.float64, generator=generator), dim=-1)


def softmax_of_cosines(one, other):
    powers = [
        math.exp(sum(a * b for a, b in zip(x, y, strict=True)) / TEMPERATURE)
        for x, y in zip(one.tolist(), other.tolist(), strict=True)
    ]
    return [power / sum(powers) for power in powers]


def divergence(p, q, kind):
    if kind == "paper":
        return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))
    return sum(b * (math.log(b) - a) for a, b in zip(p, q, strict=True))


@pytest.mark.parametrize("kind", ["paper", "code"])
@pytest.mark.parametrize("views", [2, 3])
def test_both_terms_equal_brute_force(kind, views):
    clean, attacked, plain = unit(0, views, 6, 5), unit(1, views, 6, 5), unit(2, 6, 5)
    pairs = [(i, j) for i in range(views) for j in range(views) if i < j]
    shares = [softmax_of_cosines(view, plain) for view in clean]
    products = [
        [
            a * b
            for a, b in zip(
                softmax_of_cosines(view, plain), softmax_of_cosines(view, own), strict=True
            )
        ]
        for view, own in zip(attacked, clean, strict=True)
    ]
    for found, held in (
        (standard_invariance(clean, plain, TEMPERATURE, kind), shares),
        (adversarial_invariance(attacked, clean, plain, TEMPERATURE, kind), products),
    ):
        expected = sum(divergence(held[i], held[j], kind) for i, j in pairs) / len(pairs)
        assert float(found) == pytest.approx(expected, rel=1e-12)


def test_equal_views_are_invariant():
    clean, plain = unit(0, 1, 6, 5).repeat(2, 1, 1), unit(1, 6, 5)
    assert float(standard_invariance(clean, plain, TEMPERATURE)) == pytest.approx(0, abs=1e-15)
    attacked = unit(2, 1, 6, 5).repeat(2, 1, 1)
    found = adversarial_invariance(attacked, clean, plain, TEMPERATURE)
    assert float(found) == pytest.approx(0, abs=1e-15)


def test_the_terms_are_added_with_their_weights_and_not_in_the_attack():
    z, plain = unit(3, 4, 6, 5), unit(4, 6, 5)
    update = Update(z, torch.tensor([False, False, True, True]), torch.zeros(6), plain=plain)
    base, both = DualNTXent(), DualNTXent(sir=0.7, air=0.3)
    assert not base.wants_plain
    assert both.wants_plain
    found = both(update)
    expected = base(update).total + (0.7 * found.sir + 0.3 * found.air) / 2
    torch.testing.assert_close(found.total, expected)
    assert float(found.sir) > 0
    assert float(found.air) != 0
    torch.testing.assert_close(both.crafting(update), base.crafting(update))


@pytest.mark.parametrize("wrong", [{"sir": -1}, {"air": "no"}, {"divergence": "kl"}])
def test_wrong_settings_are_refused(wrong):
    with pytest.raises(UserError, match=next(iter(wrong))):
        DualNTXent(**wrong)
