"""With two batch norms instead of one: which one is used, and what is saved and evaluated."""

import copy

import pytest
import torch
from torch import nn

from solo_adv import UserError
from solo_adv.encoders.batch_norms import batch_norm_branch, of_one_branch, with_two_batch_norms


def network():
    torch.manual_seed(0)
    inner = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
    return nn.Sequential(inner, nn.Flatten(), nn.Linear(4 * 36, 5), nn.BatchNorm1d(5))


@pytest.fixture
def images():
    return torch.rand(6, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def test_each_branch_has_statistics_and_weights_of_its_own(images):
    two = with_two_batch_norms(network(), "it").train()
    with batch_norm_branch(two, "clean"):
        two(images)
    with batch_norm_branch(two, "attacked"):
        two(10 * images)
    two(10 * images)  # outside the context the attacked branch is used
    norm = two[0][1]
    assert norm.clean.num_batches_tracked == 1
    assert norm.attacked.num_batches_tracked == 2
    one = network().train()
    one(images)
    torch.testing.assert_close(norm.clean.running_var, one[0][1].running_var)
    two.zero_grad()
    with batch_norm_branch(two, "clean"):
        two(images).sum().backward()
    assert norm.clean.weight.grad is not None
    assert norm.attacked.weight.grad is None


def test_the_attacked_branch_keeps_the_names_of_the_plain_network(images):
    plain = network()
    two = with_two_batch_norms(copy.deepcopy(plain), "it")
    state = two.state_dict()
    assert {name for name in state if ".clean." not in name} == set(plain.state_dict())
    with torch.no_grad():
        two[0][1].clean.weight.fill_(3)
    two.eval()
    for branch in ("attacked", "clean"):
        plain.load_state_dict(of_one_branch(two.state_dict(), branch))
        with batch_norm_branch(two, branch):
            assert torch.equal(plain.eval()(images), two(images))


def test_what_is_saved_is_loaded_into_both_branches():
    two = with_two_batch_norms(network(), "it").train()
    with batch_norm_branch(two, "clean"):
        two(torch.rand(4, 3, 8, 8))
    fresh = copy.deepcopy(with_two_batch_norms(network(), "it"))
    fresh.load_state_dict(two.state_dict())
    for name, tensor in two.state_dict().items():
        assert torch.equal(fresh.state_dict()[name], tensor), name


def test_a_network_without_batch_norm_is_refused():
    with pytest.raises(UserError, match="vit_tiny has none"):
        with_two_batch_norms(nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2)), "vit_tiny")
