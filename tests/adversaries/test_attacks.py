"""PGD and free training keep the threat model and agree with plain loops, for many settings."""

from typing import Any, NamedTuple

import pytest
import torch
from torch import nn

from solo_adv import UserError
from solo_adv.adversaries import PGD, Adversary, Free, batch_norm_during_attack
from tests.adversaries.threat_model import assert_admitted

EPSILON = 8 / 255


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(512, 4)
    )


def images(seed=0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(6, 3, 8, 8, dtype=torch.float64, generator=generator).to(dtype)


class Case(NamedTuple):
    adversary: Any
    batches: int = 3

    def __repr__(self) -> str:
        return f"{type(self.adversary).__name__}-{vars(self.adversary)}"


CASES = [
    Case(PGD(EPSILON, 0.01, 5)),
    Case(PGD(EPSILON, 0.01, 5, random_start=True)),
    Case(PGD(EPSILON, 0.5, 1)),
    Case(PGD(1.0, 1.0, 2)),
    Case(PGD(0.0, 0.01, 2)),
    Case(Free(EPSILON, 0.01, 3)),
    Case(Free(EPSILON, EPSILON, 2)),
    Case(Free(1.0, 0.9, 4)),
    Case(PGD(0.5, 0.1, 5, norm="l2")),
    Case(PGD(0.5, 0.3, 2, random_start=True, norm="l2")),
    Case(PGD(6.0, 5.0, 3, norm="l2")),
    Case(PGD(0.0, 0.1, 2, norm="l2")),
    Case(Free(0.5, 0.2, 3, norm="l2")),
    Case(Free(3.0, 3.0, 2, norm="l2")),
]


def run(adversary, model, optimizer, batches):
    """Use an adversary as the training step does; yield crops and perturbation of every pass."""
    for seed in range(batches):
        x = images(seed, dtype=next(model.parameters()).dtype)
        for _ in range(adversary.replays):
            with batch_norm_during_attack(model, adversary.batch_norm):
                delta = adversary.perturb(x, lambda p: model(p).square().sum())
            yield x, delta
            optimizer.zero_grad()
            model(x + delta).square().sum().backward()
            optimizer.step()
            adversary.update(x, delta)


@pytest.mark.parametrize("case", CASES, ids=repr)
def test_never_outside_ball_or_box(case):
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    for x, delta in run(case.adversary, model, optimizer, case.batches):
        ball = case.adversary.ball
        assert_admitted(ball.norm, ball.epsilon, x, delta.detach())


@pytest.mark.parametrize("batch_norm", ["train_frozen", "eval"])
@pytest.mark.parametrize("random_start", [False, True])
def test_pgd_leaves_no_trace(batch_norm, random_start):
    model = network()
    model(images()).sum().backward()  # leaves gradients, as an earlier update would
    gradients = [p.grad.clone() for p in model.parameters()]
    buffers = [b.clone() for b in model.buffers()]
    flags = [(m.training, getattr(m, "track_running_stats", None)) for m in model.modules()]
    attack = PGD(EPSILON, 0.01, 4, random_start, batch_norm=batch_norm)
    with batch_norm_during_attack(model, attack.batch_norm):
        attack.perturb(images(1), lambda p: model(p).square().sum())
    for before, parameter in zip(gradients, model.parameters(), strict=True):
        assert torch.equal(before, parameter.grad)
    for before, buffer in zip(buffers, model.buffers(), strict=True):
        assert torch.equal(before, buffer)
    assert flags == [(m.training, getattr(m, "track_running_stats", None)) for m in model.modules()]


def test_policy_train_moves_the_running_statistics():
    model = network()
    attack = PGD(EPSILON, 0.01, 4, batch_norm="train")
    with batch_norm_during_attack(model, attack.batch_norm):
        attack.perturb(images(1), lambda p: model(p).square().sum())
    assert model[1].num_batches_tracked == 4


@pytest.mark.parametrize("policy", ["train_frozen", "eval"])
def test_policy_decides_which_statistics_the_attack_sees(policy):
    model = network()
    x = images()
    in_training, in_eval = model(x), model.eval()(x)
    model.train()
    with batch_norm_during_attack(model, policy):
        seen = model(x)
    torch.testing.assert_close(seen, in_training if policy == "train_frozen" else in_eval)


def test_frozen_layers_stay_in_eval_mode():
    model = network()
    model[1].eval()
    with batch_norm_during_attack(model, "train_frozen"):
        assert not model[1].training
    assert not model[1].training


def test_pgd_equals_a_plain_loop():
    model = network().eval()
    x = images()
    attack = PGD(EPSILON, 0.01, 5)
    delta = attack.perturb(x, lambda p: model(p).square().sum())
    reference = torch.zeros_like(x)
    for _ in range(5):
        point = (x + reference).clone().requires_grad_()
        model(point).square().sum().backward()
        reference = (reference + 0.01 * point.grad.sign()).clamp(-EPSILON, EPSILON)
        reference = (x + reference).clamp(0, 1) - x
    torch.testing.assert_close(delta, reference, rtol=0, atol=1e-6)


def test_pgd_finds_the_maximum_of_a_linear_loss():
    weight = torch.randn(3, 8, 8, generator=torch.Generator().manual_seed(0))
    x = torch.full((2, 3, 8, 8), 0.5)
    delta = PGD(EPSILON, 0.01, 10).perturb(x, lambda p: (p * weight).sum())
    torch.testing.assert_close(delta, EPSILON * weight.sign().expand_as(x))


def test_euclidean_pgd_equals_a_plain_loop():
    """The images are far from the pixel box, so that projecting only divides by the length."""
    model = network().eval().double()
    x = 0.4 + 0.2 * images(dtype=torch.float64)
    delta = PGD(0.3, 0.1, 5, norm="l2").perturb(x, lambda p: model(p).square().sum())
    reference = torch.zeros_like(x)
    for _ in range(5):
        point = (x + reference).clone().requires_grad_()
        model(point).square().sum().backward()
        reference = reference + 0.1 * point.grad / lengths(point.grad)
        reference = reference * (0.3 / lengths(reference)).clamp(max=1)
    torch.testing.assert_close(delta, reference, rtol=0, atol=1e-10)


def lengths(vectors):
    return vectors.flatten(1).norm(dim=1).view(-1, 1, 1, 1)


def test_euclidean_pgd_finds_the_maximum_of_a_linear_loss():
    weight = torch.randn(3, 8, 8, generator=torch.Generator().manual_seed(0))
    x = torch.full((2, 3, 8, 8), 0.5)
    delta = PGD(0.5, 0.1, 10, norm="l2").perturb(x, lambda p: (p * weight).sum())
    torch.testing.assert_close(delta, (0.5 * weight / weight.norm()).expand_as(x))


def test_random_start_repeats_with_its_generator():
    attack = PGD(EPSILON, 0.001, 1, random_start=True)
    x = images()
    first, again, other = (
        attack.perturb(x, lambda p: p.sum(), torch.Generator().manual_seed(seed))
        for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_free_equals_algorithm_1():
    """The loop of the paper, written plainly, gives the same for two batches of three replays."""
    # In float64: in float32 the sign of a gradient near zero depends on rounding.
    model, twin = network().double(), network().double()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    for _ in run(Free(EPSILON, 0.01, 3), model, optimizer, batches=2):
        pass
    delta = torch.zeros_like(images(dtype=torch.float64))
    for seed in range(2):
        x = images(seed, dtype=torch.float64)
        for _ in range(3):
            delta = (x + delta).clamp(0, 1) - x
            point = (x + delta).requires_grad_()
            twin.zero_grad()
            twin(point).square().sum().backward()
            with torch.no_grad():
                for parameter in twin.parameters():
                    parameter.sub_(1e-3 * parameter.grad)
            delta = (delta + 0.01 * point.grad.sign()).clamp(-EPSILON, EPSILON)
            delta = (x + delta).clamp(0, 1) - x
    for ours, theirs in zip(model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_free_carries_its_perturbation_and_resumes_it():
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    adversary = Free(EPSILON, 0.01, 2)
    for _ in run(adversary, model, optimizer, batches=1):
        pass
    resumed = Free(EPSILON, 0.01, 2)
    resumed.load_state_dict(adversary.state_dict())
    x = images(5)
    first = adversary.perturb(x, lambda p: p.sum())
    assert first.abs().max() > 0
    assert torch.equal(first, resumed.perturb(x, lambda p: p.sum()))


def test_without_clamp_the_first_pass_leaves_the_box():
    x, black = torch.full((1, 3, 4, 4), 0.5), torch.zeros(1, 3, 4, 4)
    adversary = Free(EPSILON, 0.01, 1, clamp_before_forward=False)
    delta = adversary.perturb(x, lambda p: p.sum())
    (-(x + delta)).sum().backward()
    adversary.update(x, delta)
    assert (black + adversary.perturb(black, lambda p: p.sum())).min() < 0


def test_compute_is_counted():
    assert Adversary().passes == 1
    assert PGD(steps=5).passes == 6
    assert Free(replays=3).passes == 3


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: PGD(epsilon=8), "8/255"),
        (lambda: PGD(step_size=2.5), "step_size"),
        (lambda: PGD(norm="linf ", epsilon=8), "Unknown norm"),
        (lambda: Free(norm="l2", epsilon=-1), "epsilon is the Euclidean length"),
        (lambda: PGD(steps=0), "steps"),
        (lambda: PGD(batch_norm="frozen"), "train_frozen"),
        (lambda: Free(epsilon="16"), "16/255"),
        (lambda: Free(replays=0), "replays"),
        (lambda: PGD(random_start="no"), "random_start must be true or false"),
        (lambda: PGD(accumulate_gradients=0), "accumulate_gradients must be true or false"),
        (lambda: Free(clamp_before_forward="off"), "clamp_before_forward must be true or false"),
    ],
)
def test_bad_settings(build, words):
    with pytest.raises(UserError, match=words):
        build()
