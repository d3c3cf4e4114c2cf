"""The predicted memory of a step equals the bytes counted by hand."""

import gc
from functools import cache

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from solo_adv.cost.memory import LiveBytes, step_memory
from solo_adv.cost.rehearsal import RehearsedStep
from solo_adv.reproduce.plan import composed
from solo_adv.training.config import parse_cfg

FLOAT = 4
TINY = (
    *("data=digits", "crops.size=8", "crops.num_crops=2", "backbone.kwargs.width=4"),
    "+backbone.kwargs.layers=[1,1,1,1]",
    *("method_kwargs.proj_hidden_dim=16", "method_kwargs.proj_output_dim=8"),
    *("optimizer.name=sgd", "optimizer.kwargs=null"),  # with momentum
)


def tiny(method, *overrides):
    once = ["adversary.replays=1"] if method == "cfamc" else []  # replays take as much memory
    cfg = parse_cfg(composed(method, [*TINY, *once, *overrides]))
    cfg.data.num_classes = 10
    return cfg


@cache
def predicted(method, batch, *overrides):
    return step_memory(tiny(method, *overrides), batch)


@pytest.mark.parametrize("fake", [False, True])
def test_live_bytes_of_a_perceptron_are_those_counted_by_hand(fake):
    batch, inputs, hidden, outputs = 32, 5, 7, 3
    live = LiveBytes()
    with FakeTensorMode() if fake else torch.enable_grad(), live:
        x = torch.ones(batch, inputs)
        first = torch.ones(inputs, hidden).requires_grad_()
        second = torch.ones(hidden, outputs).requires_grad_()
        state = FLOAT * (batch * inputs + inputs * hidden + hidden * outputs)
        assert live.live == live.peak == state
        a = x @ first
        h = a.relu()
        del a  # relu keeps its output for the backward pass, not its input
        y = h @ second
        alive = state + FLOAT * (batch * hidden + batch * outputs)
        assert live.live == alive
        assert live.peak == state + FLOAT * 2 * batch * hidden  # before and after the relu
        live.restart()
        loss = y.sum()
        loss.backward()
        del loss, y, h
        gc.collect()
        gradients = FLOAT * (inputs * hidden + hidden * outputs)
        assert live.live == state + gradients
        # At the peak of the backward pass these are alive: all that the forward pass left, the
        # loss and its gradient (one number each), the gradient of the second matrix, and the
        # gradients before and after the relu.
        held = alive + FLOAT * (2 + hidden * outputs + 2 * batch * hidden)
        assert live.peak == held
    del x, first, second
    gc.collect()
    assert live.live == 0


def test_views_and_in_place_operations_take_no_memory():
    with LiveBytes() as live:
        x = torch.zeros(8, 8)
        x.view(64).add_(1)[:8].mul_(2)
        assert live.live == live.peak == 8 * 8 * FLOAT


def test_parts_of_the_state_are_those_of_the_network():
    cfg = tiny("cfamc")
    held = predicted("cfamc", 16)
    method = RehearsedStep(cfg, 16).method
    parameters = sum(p.numel() for p in method.parameters())
    buffers = sum(b.numel() * b.element_size() for b in method.buffers())
    assert held.weights == parameters * FLOAT + buffers
    assert held.adversary == 16 * 2 * 3 * 8 * 8 * FLOAT  # one perturbation for each crop
    assert held.optimizer == parameters * FLOAT  # momentum
    # The activations include the gradients, and the first layer before and after its norm.
    assert held.activations > parameters * FLOAT + 2 * 32 * 4 * 8 * 8 * FLOAT


def test_what_adversaries_and_optimisers_hold():
    assert predicted("emp_ssl", 16).adversary == 0
    assert predicted("robust_emp", 16, "adversary.steps=5").adversary == 0
    momentum = predicted("emp_ssl", 16).optimizer
    adam = step_memory(tiny("emp_ssl", "optimizer.name=adam"), 16)
    assert adam.optimizer == pytest.approx(2 * momentum, rel=0.01)  # two moments, and counters


@pytest.mark.slow
def test_activations_grow_with_the_batch_and_the_state_does_not():
    small, large = (predicted("cfamc", batch) for batch in (32, 64))
    assert small.weights == large.weights
    assert large.adversary == 2 * small.adversary
    per_crop = (large.peak - small.peak) / 64
    third = step_memory(tiny("cfamc"), 128)
    assert third.peak - large.peak == pytest.approx(128 * per_crop, rel=0.05)


def test_bfloat16_keeps_smaller_activations():
    full, half = (predicted("cfamc", 64, f"precision={p}") for p in ("32-true", "bf16-mixed"))
    assert half.weights == full.weights
    assert 0.4 * full.activations < half.activations < 0.75 * full.activations


def test_operations_of_a_step_are_those_of_its_passes():
    plain = predicted("emp_ssl", 16).flops
    free = step_memory(tiny("cfamc", "adversary.replays=3"), 16).flops
    # The gradient with respect to the crops is the only thing that free training adds to a pass.
    assert 3 * plain < free < 3.3 * plain
    pgd = predicted("robust_emp", 16, "adversary.steps=5").flops
    # A step of the attack computes no gradients of the weights, so it is two thirds of a pass.
    assert 1 + 5 * 0.6 < pgd / plain < 1 + 5 * 0.8


def test_predicting_takes_no_memory_and_leaves_random_numbers_alone():
    state = torch.get_rng_state()
    step_memory(tiny("cfamc"), 100_000)  # a real step would take gigabytes
    assert torch.equal(torch.get_rng_state(), state)


def test_the_real_step_holds_what_was_predicted():
    cfg = tiny("simclr_freeadv")
    peak = step_memory(cfg, 32).peak
    with LiveBytes() as live:
        step = RehearsedStep(cfg, 32)
        step()
        live.restart()
        step()
    assert live.peak == pytest.approx(peak, rel=0.03)


@pytest.mark.slow
def test_a_momentum_encoder_is_held_and_saves_backward_passes():
    acl, dynacl = (predicted(name, 16, "adversary.steps=2") for name in ("acl", "dynacl"))
    assert 1.9 * acl.weights < dynacl.weights < 2 * acl.weights  # the classifier is there once
    # In forward passes of two crops, with 2 more for each full backward pass: 2 * 3 to update acl,
    # 3 + 1 to update dynacl, and 2 * 2 for the attack and 1 for the clean crops on both.
    assert dynacl.flops / acl.flops == pytest.approx(9 / 11, rel=0.03)
