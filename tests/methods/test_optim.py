"""LARS agrees with its definition, computed one weight at a time in float64."""

import pytest
import torch
from torch import nn

from solo_adv.methods.optim import build_optimizer
from tests.methods.reference import LR, MOMENTUM, TRUST, moved

DECAY, STEPS = 1e-2, 20
OPTIONS = {
    **{"momentum": MOMENTUM, "nesterov": True, "eta": TRUST},
    **{"clip_lr": True, "exclude_bias_n_norm": True},
}


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.LayerNorm(8), nn.Linear(8, 2)).double()


def losses(model):
    generator = torch.Generator().manual_seed(1)
    for _ in range(STEPS):
        yield model(torch.randn(5, 6, dtype=torch.float64, generator=generator)).square().sum()


def by_definition(model):
    """Train with LARS as in You et al. 2017; its rates never exceed the learning rate."""
    velocity = {}
    for loss in losses(model):
        model.zero_grad()
        loss.backward()
        for name, weight in model.named_parameters():
            before = velocity.get(name, torch.zeros_like(weight))
            velocity[name] = moved(weight, before, LR, DECAY)


@pytest.mark.parametrize("foreach", [False, True])
def test_lars_follows_its_definition(foreach):
    model, twin = network(), network()
    groups = [{"params": list(model.parameters())}]
    optimizer = build_optimizer("lars", groups, lr=LR, weight_decay=DECAY, **OPTIONS)
    for group in optimizer.param_groups:
        group["foreach"] = foreach  # updates all weights at once, as on a GPU, or one by one
    for loss in losses(model):
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    by_definition(twin)
    assert not torch.equal(model[0].weight, network()[0].weight)
    for ours, theirs in zip(model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-12)
