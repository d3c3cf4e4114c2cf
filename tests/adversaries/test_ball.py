"""The mathematics that all attacks share: lengths, projections, steps and starts in the ball."""

import copy
import pickle
from math import inf, nan

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from scipy.stats import kstest

from solo_adv import UserError
from solo_adv.adversaries import NORMS, Ball, as_fraction
from solo_adv.adversaries.ball import with_usual_lengths
from tests.adversaries.threat_model import assert_admitted

BALLS = [
    *(("linf", epsilon) for epsilon in (8 / 255, 1 / 255, 0.1, 0.6, 1.0)),
    *(("l2", epsilon) for epsilon in (0.0, 0.1, 0.5, 1 / 3, 2.0, 9.0, 20.0)),
]


def drawn(shape=(16, 3, 12, 12), dtype=torch.float32, scale=4.0):
    """Draw images, of which three lie on the edge of the box, and perturbations of many sizes."""
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(shape, dtype=torch.float64, generator=generator)
    images[0], images[1], images[2] = 0, 1, images[2].round()
    sizes = torch.logspace(0, -3, shape[0], dtype=torch.float64).view(-1, 1, 1, 1)
    delta = scale * sizes * torch.randn(shape, dtype=torch.float64, generator=generator)
    return images.to(dtype), delta.to(dtype)


@pytest.mark.parametrize(
    ("given", "value"), [("8/255", 8 / 255), (0.03, 0.03), ("0.03", 0.03), (0, 0.0), (1, 1.0)]
)
def test_fractions(given, value):
    assert as_fraction("epsilon", given) == pytest.approx(value)
    assert Ball("linf", given).epsilon == as_fraction("epsilon", given)


@pytest.mark.parametrize("given", [8, "8", -0.1, "x/255", "8/0", nan, None, "1;2"])
def test_values_that_are_no_fraction_are_refused(given):
    for refuses in (as_fraction, NORMS["linf"].length):
        with pytest.raises(UserError, match=r"epsilon is a fraction .* such as 8/255"):
            refuses("epsilon", given)


def test_whole_numbers_get_the_hint():
    with pytest.raises(UserError, match=r"Did you mean 8/255\?"):
        Ball("linf", 8)


@pytest.mark.parametrize(
    ("given", "value"), [("128/255", 128 / 255), (0.5, 0.5), (8, 8.0), ("3.5", 3.5), (0, 0.0)]
)
def test_euclidean_lengths(given, value):
    assert Ball("l2", given).epsilon == value


@pytest.mark.parametrize("given", [-0.1, "x", "8/0", nan, inf, None])
def test_values_that_are_no_length_are_refused(given):
    with pytest.raises(UserError, match=r"step_size is the Euclidean length .* such as 0\.5"):
        Ball("l2", 0.5).length("step_size", given)


def test_the_usual_lengths():
    assert Ball("linf", "auto") == Ball("linf", 8 / 255)
    assert Ball("linf", 0.1).length("train_step_size", "auto") == 0.01
    assert Ball("l2", "auto") == Ball("l2", 0.5)
    assert Ball("l2", 9).length("train_epsilon", "auto") == 0.5
    assert Ball("l2", 9).length("step_size", "auto") == 0.1


def test_usual_lengths_of_an_adversary():
    given = {"norm": "l2", "epsilon": "auto", "step_size": 0.3, "stem": "auto"}
    assert with_usual_lengths(given) == {**given, "epsilon": 0.5}
    for unchanged in ({"norm": "l3", "epsilon": "auto"}, {"forward": "joint"}):
        assert with_usual_lengths(unchanged) == unchanged


@pytest.mark.parametrize(
    ("norm", "epsilon", "text"),
    [
        *(("linf", *case) for case in [(8 / 255, "8/255"), ("16/255", "16/255")]),
        *(("linf", 0.03, "7.65/255"), ("l2", "1/2", "0.5 (L2)"), ("l2", 12, "12 (L2)")),
    ],
)
def test_the_radius_in_text(norm, epsilon, text):
    assert Ball(norm, epsilon).text == text


def test_balls_are_values():
    for ball in (Ball("linf", "8/255"), Ball("l2", "8/255")):
        assert ball == Ball(ball.norm, 8 / 255) == copy.deepcopy(ball)
        assert ball == pickle.loads(pickle.dumps(ball))
        assert ball != Ball(ball.norm, 0.1)
    assert Ball("linf", 0.1) != Ball("l2", 0.1)
    with pytest.raises(UserError, match="Unknown norm 'l3'"):
        Ball("l3", 0.1)


# ---------------------------------------------------------------- projection


@pytest.mark.parametrize(("norm", "epsilon"), BALLS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_projection_is_exact_and_in_place(norm, epsilon, dtype, memory_format):
    images, delta = (t.contiguous(memory_format=memory_format) for t in drawn(dtype=dtype))
    before = images.clone()
    projected = Ball(norm, epsilon).project(delta, images)
    assert projected is delta
    assert torch.equal(images, before)
    assert_admitted(norm, epsilon, images, projected)


@pytest.mark.parametrize(("norm", "epsilon"), BALLS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_projection_keeps_what_is_allowed(norm, epsilon, dtype):
    ball = Ball(norm, epsilon)
    images, delta = drawn(dtype=dtype)
    projected = ball.project(delta.clone(), images)
    assert torch.equal(ball.project(projected.clone(), images), projected)
    inside = 0.9 * projected
    assert torch.equal(ball.project(inside.clone(), images), inside)


def test_projection_is_the_nearest_point():
    images = torch.tensor([0.0, 0.5, 1.0, 0.99])
    delta = torch.tensor([-0.5, 0.5, 0.5, 0.5])
    expected = torch.tensor([0.0, 0.1, 0.0, 0.01])
    torch.testing.assert_close(Ball("linf", 0.1).project(delta, images), expected)


@pytest.mark.parametrize("epsilon", [0.3, 1.0, 1.7])
def test_the_euclidean_projection_solves_the_quadratic_programme(epsilon):
    """A general solver, which does not know that the zero perturbation is allowed, agrees."""
    images, delta = drawn((24, 3, 2, 2), torch.float64, scale=2.0)
    ours = Ball("l2", epsilon).project(delta.clone(), images).flatten(1).numpy()
    for image, wanted, found in zip(
        images.flatten(1).numpy(), delta.flatten(1).numpy(), ours, strict=True
    ):
        solved = minimize(
            lambda d, wanted=wanted: np.square(d - wanted).sum(),
            np.zeros(12),
            jac=lambda d, wanted=wanted: 2 * (d - wanted),
            bounds=[(-pixel, 1 - pixel) for pixel in image],
            constraints={
                "type": "ineq",
                "fun": lambda d: epsilon**2 - np.square(d).sum(),
                "jac": lambda d: -2 * d,
            },
            method="SLSQP",
            options={"ftol": 1e-15, "maxiter": 1000},
        )
        assert np.square(found - wanted).sum() <= solved.fun + 1e-9
        np.testing.assert_allclose(found, solved.x, atol=2e-6)


@pytest.mark.parametrize("epsilon", [0.1, 0.5, 2.0, 5.0, 9.0])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 2e-5), (torch.float64, 1e-11)])
def test_the_euclidean_projection_equals_a_bisection(epsilon, dtype, tolerance):
    images, delta = drawn(dtype=dtype)
    ours = Ball("l2", epsilon).project(delta.clone(), images)
    lowest, highest = -images.double(), 1 - images.double()
    for number in range(len(images)):

        def at(multiplier, number=number):
            shrunk = delta[number].double() / (1 + multiplier)
            return shrunk.clamp(lowest[number], highest[number])

        small, large = 0.0, 1e6
        if at(0).norm() <= epsilon:
            large = 0.0
        for _ in range(200):
            middle = (small + large) / 2
            small, large = (middle, large) if at(middle).norm() > epsilon else (small, middle)
        torch.testing.assert_close(ours[number].double(), at(large), rtol=0, atol=tolerance)
    cut = (ours == lowest.to(ours)) | (ours == highest.to(ours))
    lengths = ours.double().flatten(1).norm(dim=1)
    assert ((lengths > 0.999 * epsilon) & cut.flatten(1).any(1)).any()  # both bounds hold at once


# ---------------------------------------------------------------- steps


def test_step_follows_the_sign_and_ignores_overflow():
    gradient = torch.tensor([1e-30, -5.0, 0.0, nan, inf])
    images = torch.full((5,), 0.5)
    moved = Ball("linf", 0.1).step(torch.zeros(5), gradient, images, step_size=0.01)
    torch.testing.assert_close(moved, torch.tensor([0.01, -0.01, 0.0, 0.0, 0.01]))


@pytest.mark.parametrize("size", [1e-40, 1e-25, 1.0, 1e25])
def test_the_euclidean_step_has_the_same_length_for_any_gradient(size):
    gradient = torch.randn(4, 3, 5, 5, generator=torch.Generator().manual_seed(0))
    direction = gradient.double() / gradient.double().flatten(1).norm(dim=1).view(-1, 1, 1, 1)
    images = torch.full(gradient.shape, 0.5)
    moved = Ball("l2", 1.0).step(torch.zeros_like(images), size * gradient, images, step_size=0.2)
    tolerance = 1e-6 if size > 1e-38 else 1e-3  # numbers below 1e-38 have fewer digits
    torch.testing.assert_close(moved.double(), 0.2 * direction, rtol=0, atol=tolerance)


def test_the_euclidean_step_is_taken_image_by_image_and_projected():
    images, delta = drawn((24, 3, 4, 4), torch.float64, scale=0.1)
    ball = Ball("l2", 0.6)
    delta = ball.project(delta, images)
    gradient = torch.randn_like(delta)
    gradient[3] = 0
    lengths = gradient.flatten(1).norm(dim=1).clamp(min=1e-300).view(-1, 1, 1, 1)
    expected = ball.project(delta + 0.5 * gradient / lengths, images)
    before = delta[3].clone()
    moved = ball.step(delta, gradient, images, step_size=0.5)
    assert moved is delta
    torch.testing.assert_close(moved, expected)
    assert torch.equal(moved[3], before)  # without a gradient the perturbation stays


def test_the_euclidean_step_survives_overflow():
    gradient = torch.zeros(3, 1, 2, 2)
    gradient[0, 0, 0, 0] = nan
    gradient[1, 0, 0] = torch.tensor([inf, 3.0])
    gradient[2, 0] = torch.tensor([[nan, 3.0], [0.0, -4.0]])
    images = torch.full(gradient.shape, 0.5)
    moved = Ball("l2", 1.0).step(torch.zeros_like(images), gradient, images, step_size=0.1)
    expected = torch.zeros_like(images)
    expected[1, 0, 0, 0] = 0.1
    expected[2, 0] = torch.tensor([[0.0, 0.06], [0.0, -0.08]])
    torch.testing.assert_close(moved, expected)


@pytest.mark.slow
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_compiled_step_is_the_same_to_the_bit(norm, dtype):
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(6, 3, 8, 8, dtype=dtype, generator=generator)
    gradient = torch.randn(images.shape, dtype=dtype, generator=generator)
    gradient[0, 0, 0] = nan
    ball, moved = Ball(norm, 8 / 255), torch.zeros_like(images)
    fused = moved.clone()
    for _ in range(4):
        ball.step(moved, gradient, images, step_size=0.01)
        ball.step(fused, gradient, images, step_size=0.01, compiled=True)
        assert torch.equal(moved, fused)
        gradient = gradient.roll(1)
    assert moved.abs().max() > 0


# ---------------------------------------------------------------- starts


@pytest.mark.parametrize(("norm", "epsilon"), BALLS)
def test_starts_are_admitted_and_repeat_with_their_generator(norm, epsilon):
    images, _ = drawn()
    ball = Ball(norm, epsilon)
    first, again, other = (
        ball.start(images, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)
    )
    assert_admitted(norm, epsilon, images, first)
    assert torch.equal(first, again)
    assert not torch.equal(first, other) or epsilon == 0


def test_starts_are_uniform_in_the_ball():
    """Lengths and directions are distributed correctly in three dimensions, far from the box."""
    images = torch.full((4000, 1, 1, 3), 0.5)
    generator = torch.Generator().manual_seed(0)
    inside_box = Ball("linf", 0.25).start(images, generator).flatten()
    assert kstest(inside_box.numpy(), "uniform", (-0.25, 0.5)).pvalue > 0.01
    start = Ball("l2", 0.25).start(images, generator).flatten(1)
    lengths = start.norm(dim=1) / 0.25
    assert kstest(lengths.numpy() ** 3, "uniform").pvalue > 0.01
    # Every coordinate of a uniform direction in three dimensions is uniform (Archimedes).
    for coordinate in (start / start.norm(dim=1, keepdim=True)).T:
        assert kstest(coordinate.numpy(), "uniform", (-1, 2)).pvalue > 0.01


# ---------------------------------------------------------------- the rest


@pytest.mark.parametrize("norm", NORMS)
def test_the_largest_ball_holds_every_image(norm):
    images, _ = drawn((8, 3, 4, 4))
    ball = Ball(norm, 0.1).largest(images)
    for target in (torch.zeros_like(images), torch.ones_like(images), images.flip(0)):
        delta = target - images
        assert torch.equal(ball.project(delta.clone(), images), delta)


def test_distances_and_pictures():
    delta = torch.tensor([[[[0.03, -0.04]]], [[[0.0, 0.0]]]])
    assert Ball("linf", 0.1).distance(delta).tolist() == pytest.approx([0.04, 0.0])
    assert Ball("l2", 0.1).distance(delta).tolist() == pytest.approx([0.05, 0.0])
    assert Ball("linf", 0.1).magnification(delta) == 0.5 / 0.1
    assert Ball("l2", 0.1).magnification(delta) == pytest.approx(0.5 / 0.04)
    assert Ball("linf", 0.0).magnification(0 * delta) == 1.0
    assert Ball("l2", 0.1).magnification(0 * delta) == 1.0


def test_what_the_adversary_may_do_in_words():
    assert Ball("linf", 0.1).words("the image") == "every pixel of the image by at most epsilon"
    assert Ball("l2", 0.1).words("the image") == (
        "the image by a vector of Euclidean length at most epsilon"
    )
