"""The shared maths of all attacks: fractions, ball, box, steps."""

import copy
import pickle

import pytest
import torch

from solo_adv import UserError
from solo_adv.adversaries import Ball, as_fraction


@pytest.mark.parametrize(
    ("given", "value"), [("8/255", 8 / 255), (0.03, 0.03), ("0.03", 0.03), (0, 0.0), (1, 1.0)]
)
def test_fractions(given, value):
    assert as_fraction("epsilon", given) == pytest.approx(value)


@pytest.mark.parametrize("given", [8, "8", -0.1, "x/255", "8/0", float("nan"), None, "1;2"])
def test_what_is_no_fraction_is_refused(given):
    with pytest.raises(UserError, match="8/255"):
        as_fraction("epsilon", given)


def test_whole_numbers_get_the_hint():
    with pytest.raises(UserError, match=r"Did you mean 8/255\?"):
        as_fraction("epsilon", 8)


@pytest.mark.parametrize(
    ("epsilon", "text"), [(8 / 255, "8/255"), ("16/255", "16/255"), (0.03, "7.65/255")]
)
def test_the_radius_in_text(epsilon, text):
    assert Ball("linf", epsilon).text == text


def test_balls_are_values():
    ball = Ball("linf", "8/255")
    assert ball == Ball("linf", 8 / 255) == copy.deepcopy(ball) == pickle.loads(pickle.dumps(ball))
    assert ball != Ball("linf", 0.1)
    with pytest.raises(UserError, match="Unknown norm 'l3'"):
        Ball("l3", 0.1)


@pytest.mark.parametrize("epsilon", [8 / 255, 1 / 255, 0.1, 0.6, 1.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_projection_is_exact(epsilon, dtype):
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(50, 3, 16, 16, dtype=dtype, generator=generator)
    images[0] = 0
    images[1] = 1
    delta = Ball("linf", epsilon).project(
        4 * torch.randn(images.shape, dtype=dtype, generator=generator), images
    )
    assert delta.abs().max().item() <= epsilon
    perturbed = images + delta
    assert perturbed.min() >= 0
    assert perturbed.max() <= 1


def test_projection_keeps_what_is_allowed():
    images = torch.full((1, 3, 4, 4), 0.5)
    delta = 0.03 * torch.randn(images.shape).clamp(-1, 1)
    kept = Ball("linf", 8 / 255).project(delta.clone(), images)
    torch.testing.assert_close(kept, delta, rtol=0, atol=0)


def test_projection_is_the_nearest_point():
    images = torch.tensor([0.0, 0.5, 1.0, 0.99])
    delta = torch.tensor([-0.5, 0.5, 0.5, 0.5])
    expected = torch.tensor([0.0, 0.1, 0.0, 0.01])
    torch.testing.assert_close(Ball("linf", 0.1).project(delta, images), expected)


def test_step_follows_the_sign_and_ignores_overflow():
    gradient = torch.tensor([1e-30, -5.0, 0.0, float("nan"), float("inf")])
    images = torch.full((5,), 0.5)
    moved = Ball("linf", 0.1).step(torch.zeros(5), gradient, images, step_size=0.01)
    torch.testing.assert_close(moved, torch.tensor([0.01, -0.01, 0.0, 0.0, 0.01]))


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_compiled_step_is_the_same_to_the_bit(dtype):
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(6, 3, 8, 8, dtype=dtype, generator=generator)
    gradient = torch.randn(images.shape, dtype=dtype, generator=generator)
    gradient[0, 0, 0] = float("nan")
    ball, moved = Ball("linf", 8 / 255), torch.zeros_like(images)
    fused = moved.clone()
    for _ in range(4):
        ball.step(moved, gradient, images, step_size=0.01)
        ball.step(fused, gradient, images, step_size=0.01, compiled=True)
        assert torch.equal(moved, fused)
        gradient = gradient.roll(1)
    assert moved.abs().max() > 0
