"""The training step: what an attack may touch, which views it attacks, what presets change."""

import math

import pytest
import torch

from solo_adv import UserError
from solo_adv.objectives import Update

BATCH, CLASSES, SIZE = 4, 3, 16


def spy_on_attack(method, record):
    perturb = method.adversary.perturb

    def watched(crops, loss_of):
        before = trace(method)
        delta = perturb(crops, loss_of)
        record.append((before, trace(method), crops.clone(), delta.detach().clone()))
        return delta

    method.adversary.perturb = watched


def trace(method):
    """Copies of everything that an attack must not change."""
    gradients = [None if p.grad is None else p.grad.clone() for p in method.parameters()]
    buffers = [b.clone() for b in method.buffers()]
    flags = [(m.training, getattr(m, "track_running_stats", None)) for m in method.modules()]
    return gradients, buffers, flags


def same(one, other):
    pairs = zip(one, other, strict=True)
    return all((a is None and b is None) or torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("name", ["robust_emp", "robust_simclr"])
@pytest.mark.parametrize("pair", ["self", "cross"])
def test_an_attack_leaves_no_trace_in_the_step(build, fit, name, pair):
    method = build(name, **{"adversary.pair": pair})
    record = []
    spy_on_attack(method, record)
    fit(method, batches=3)
    assert len(record) == 3
    for before, after, crops, delta in record:
        assert same(before[0], after[0])
        assert same(before[1], after[1])
        assert before[2] == after[2]
        assert delta.abs().max() > 0
        assert delta.abs().max().item() <= 8 / 255
        assert (crops + delta).min() >= 0
        assert (crops + delta).max() <= 1


def test_policy_train_lets_the_attack_move_running_statistics(build, fit):
    method = build("robust_emp", **{"adversary.batch_norm": "train"})
    record = []
    spy_on_attack(method, record)
    fit(method)
    assert not same(record[0][0][1], record[0][1][1])


@pytest.mark.parametrize(
    ("name", "views", "expected"),
    [
        ("cfamc", "all", 2 * BATCH),
        ("robust_emp", "second", BATCH),
        ("simclr_freeadv", "second", BATCH),
        ("simclr_freeadv", "both", 2 * BATCH),
        ("robust_simclr", "second", BATCH),
    ],
)
def test_only_the_attacked_views_are_perturbed(build, fit, name, views, expected):
    method = build(name, **{"adversary.views": views})
    record, seen = [], []
    spy_on_attack(method, record)
    method.backbone.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach()))
    fit(method, batches=2)  # free training perturbs nothing before its first backward pass
    crops, delta = record[-1][2:]
    assert len(crops) == len(delta) == expected
    last = torch.cat(seen[-1:] if method.attacked_views.forward == "joint" else seen[-2:])
    torch.testing.assert_close(last[-expected:], crops + delta)


def test_self_pair_crafts_on_the_attacked_view_alone(build, fit):
    method = build("robust_simclr")
    seen = []
    method.backbone.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))
    fit(method)
    # These are the clean second view, five attack steps, and an update with a pass for each view.
    assert seen == [BATCH] * 8
    assert method.crop_passes == 2 * BATCH + 5 * BATCH


def test_accumulated_gradients_are_the_sum_of_all_passes(build, fit):
    """The option makes the reference's update; here the gradients are taken one by one."""
    method = build("robust_emp", **{"adversary.accumulate_gradients": True, "adversary.steps": 3})
    crops_seen, used = [], []
    perturb = method.adversary.perturb

    def watched(crops, loss_of):
        crops_seen.append(crops.clone())
        return perturb(crops, loss_of)

    method.adversary.perturb = watched
    method.on_before_optimizer_step = lambda _: used.append(
        [p.grad.clone() for p in method.projector.parameters()]
    )
    twin = build("robust_emp", **{"adversary.steps": 3})
    fit(method)
    (crops,) = crops_seen
    parameters = list(twin.projector.parameters())
    expected = [torch.zeros_like(p) for p in parameters]
    delta = torch.zeros_like(crops)
    twin.train()
    for _ in range(4):  # three steps, then the update
        delta.requires_grad_()
        z = twin(crops + delta)["z"].unflatten(0, (2, BATCH))
        clean = torch.zeros(2, dtype=torch.bool)
        loss = twin.objective(Update(z, clean, torch.zeros(BATCH))).total
        *gradients, ascent = torch.autograd.grad(loss, [*parameters, delta])
        expected = [total + g for total, g in zip(expected, gradients, strict=True)]
        delta = (delta + 0.01 * ascent.sign()).clamp(-8 / 255, 8 / 255).detach()
        delta = (crops + delta).clamp(0, 1) - crops
    for ours, theirs in zip(used[0], expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)


def test_reference_schedule_is_stepped_at_every_replay(build, fit):
    method = build("cfamc", preset="reference", max_epochs=2)
    rates = []
    method.on_before_optimizer_step = lambda optimizer: rates.append(
        optimizer.param_groups[0]["lr"]
    )
    fit(method, batches=5)
    total = 10
    expected = [0.1 * (1 + math.cos(math.pi * k / total)) / 2 for k in range(3 * total)]
    assert rates == pytest.approx(expected)
    assert method.adversary.clamp_before_forward is False


def test_the_preset_turns_on_what_a_method_has_and_nothing_else(build):
    assert build("robust_emp", preset="reference").adversary.accumulate_gradients
    assert build("robust_simclr", preset="reference").adversary.batch_norm == "train"
    assert build("emp_ssl", preset="reference").cfg.scheduler.name == "reference_cyclic"
    assert not build("robust_emp").adversary.accumulate_gradients


def test_cross_entropy_trains_a_classifier_on_one_view(build, fit):
    method = build(
        "supervised_freeadv",
        **{
            "method_kwargs.loss": "cross_entropy",
            "crops.num_crops": 1,
            "adversary.views": "all",
        },
    )
    assert method(torch.rand(2, 3, SIZE, SIZE))["z"].shape == (2, CLASSES)
    trainer = fit(method, batches=2)
    assert torch.isfinite(trainer.callback_metrics["train_supervised_loss"])
    assert method.cfg.method_kwargs.proj_output_dim == CLASSES


def test_one_view_cannot_be_the_second(build):
    with pytest.raises(UserError, match="at least 2"):
        build(
            "supervised_freeadv",
            **{"method_kwargs.loss": "cross_entropy", "crops.num_crops": 1},
        )
