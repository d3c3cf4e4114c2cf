"""An optimiser whose rates are tensors takes the steps that it takes with numbers."""

import copy

import pytest
import torch
from torch import nn

from solo_adv.methods.optim import OPTIMIZERS, build_optimizer
from solo_adv.methods.tensor_rates import TensorRates

RATES = (0.1, 0.05, 0.2, 0.001, 0.03)
OPTIONS = {
    "sgd": {"nesterov": True},
    "lars": {"nesterov": True, "eta": 0.02, "clip_lr": True, "exclude_bias_n_norm": True},
    "adam": {},
    "adamw": {"amsgrad": True},
}


def optimiser_of(net, name, options):
    """Two groups with rates of their own, of which the second has no weight decay."""
    torch.manual_seed(0)
    groups = [
        {"params": net[0].parameters()},
        {"params": net[1].parameters(), "lr": 0.3, "weight_decay": 0.0},
    ]
    return build_optimizer(name, groups, lr=0.1, weight_decay=1e-2, **options)


@pytest.mark.parametrize("resumed", [False, True])
@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_steps_are_those_with_numbers(name, plain, resumed):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(7, 5), nn.Linear(5, 3))
    twin = copy.deepcopy(net)
    options = {} if plain else OPTIONS[name]
    usual, other = (optimiser_of(n, name, dict(options)) for n in (net, twin))
    rates = None if resumed else TensorRates(other, name, torch.device("cpu"))
    for number, rate in enumerate(RATES):
        for group in (*usual.param_groups, *other.param_groups):
            group["lr"] = rate * (1 + len(group["params"][0]))
        for ours, theirs in zip(net.parameters(), twin.parameters(), strict=True):
            ours.grad = torch.randn_like(ours)
            theirs.grad = ours.grad.clone()
        usual.step()
        if rates is None and number == 2:
            rates = TensorRates(other, name, torch.device("cpu"))
        if rates is None:
            other.step()
        else:
            rates.refresh()
            rates.step()
        assert [g["lr"] for g in usual.param_groups] == [g["lr"] for g in other.param_groups]
        for ours, theirs in zip(net.parameters(), twin.parameters(), strict=True):
            torch.testing.assert_close(theirs, ours, rtol=1e-5, atol=1e-6)
