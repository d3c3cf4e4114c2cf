"""N-FGSM and RS-FGSM against plain formulas."""

import re
from pathlib import Path

import pytest
import torch

from solo_adv import evaluation
from solo_adv.adversaries import Ball, Fast
from solo_adv.support.errors import UserError
from tests.adversaries.threat_model import assert_admitted

EPSILON = 8 / 255


def crops(seed=0):
    return torch.rand(
        5, 3, 6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)
    )


def weights():
    return torch.randn(5, 3, 6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(9))


def loss(x):
    return (weights() * x).sin().sum()


def gradient(x):
    return weights() * (weights() * x).cos()


def noise(radius, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.empty(5, 3, 6, 6, dtype=torch.float64).uniform_(
        -radius, radius, generator=generator
    )


def in_box(delta, x):
    return (x + delta).clamp(0, 1) - x


@pytest.mark.parametrize("steps", [1, 2])
def test_n_fgsm_takes_noise_and_full_steps_without_projection(steps):
    x = crops()
    found = Fast(EPSILON, steps=steps).perturb(x, loss, torch.Generator().manual_seed(3))
    expected = in_box(noise(2 * EPSILON, 3), x)
    for _ in range(steps):
        expected = in_box(expected + EPSILON * gradient(x + expected).sign(), x)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    assert found.abs().max() > EPSILON


def test_rs_fgsm_stays_in_the_ball():
    x = crops()
    adversary = Fast(EPSILON, noise=1.0, step=1.25, stay_in_ball=True)
    found = adversary.perturb(x, loss, torch.Generator().manual_seed(3))
    start = in_box(noise(EPSILON, 3), x)
    expected = start + 1.25 * EPSILON * gradient(x + start).sign()
    expected = in_box(expected.clamp(-EPSILON, EPSILON), x)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    assert adversary.ball == Ball("linf", EPSILON)


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("epsilon", [0.0, 0.05])
@pytest.mark.parametrize(
    "settings", [{}, {"steps": 2}, {"noise": 1.0, "step": 1.25, "stay_in_ball": True}, {"noise": 0}]
)
def test_its_ball_contains_every_perturbation(norm, epsilon, settings):
    adversary = Fast(epsilon, norm=norm, **settings)
    for seed in range(3):
        x = crops(seed).float()
        delta = adversary.perturb(x, lambda p: (weights().float() * p).sin().sum())
        assert_admitted(norm, adversary.ball.epsilon, x, delta)


def test_no_evaluation_knows_it():
    """A perturbation that leaves the ball would overstate an attack."""
    folder = Path(evaluation.__file__).parent
    words = {word for file in folder.rglob("*.py") for word in re.findall(r"\w+", file.read_text())}
    assert "PGD" in words
    assert "Fast" not in words


@pytest.mark.parametrize(
    ("wrong", "said"),
    [({"noise": -1}, "noise"), ({"step": 0}, "step"), ({"steps": 0}, "steps"),
     ({"stay_in_ball": "no"}, "stay_in_ball"), ({"epsilon": 8}, "epsilon")],
)  # fmt: skip
def test_wrong_values_are_refused(wrong, said):
    with pytest.raises(UserError, match=said):
        Fast(**wrong)
