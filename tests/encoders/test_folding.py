"""Batch norms folded into convolutions: the same function, and nothing folded that must not be."""

import copy

import pytest
import torch
from torch import nn

from solo_adv.encoders import folding
from solo_adv.encoders.backbones import build_backbone
from solo_adv.encoders.folding import folded


def settled(network):
    """In float64 and eval mode, with statistics and weights that differ between channels."""
    torch.manual_seed(0)
    network = network.double().eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            if module.track_running_stats:
                module.running_mean.normal_()
                module.running_var.uniform_(0.5, 2)
            if module.affine:
                nn.init.normal_(module.weight)
                nn.init.normal_(module.bias)
    return network


def norms(network):
    return sum(isinstance(module, nn.BatchNorm2d) for module in network.modules())


def with_gradient(network, images):
    images = images.clone().requires_grad_()
    out = network(images)
    return out.detach(), torch.autograd.grad(out.square().sum(), images)[0]


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_a_resnet_without_batch_norms_is_the_same_function(name):
    network, _ = build_backbone(name, image_size=16, stem="cifar", width=4)
    network, images = settled(network), torch.rand(3, 3, 16, 16, dtype=torch.float64)
    before = copy.deepcopy(network.state_dict())
    found = folded(network, images)
    # One shortcut is no convolution for torch.fx: it takes every second pixel, then multiplies.
    assert norms(found) <= 1 < norms(network)
    for one, other in zip(
        with_gradient(network, images), with_gradient(found, images), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)
    assert all(torch.equal(network.state_dict()[key], value) for key, value in before.items())


class Branching(nn.Module):
    """Its own code compares pixels, which torch.fx cannot follow; that of its child it can."""

    def __init__(self, child):
        super().__init__()
        self.child = child

    def forward(self, images):
        if images.max() > 1:
            raise ValueError("not pixels")
        return self.child(images)


def plain():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())


def test_a_child_is_folded_where_its_parent_cannot_be_followed():
    network, images = settled(Branching(plain())), torch.rand(2, 3, 8, 8, dtype=torch.float64)
    found = folded(network, images)
    assert isinstance(found, Branching)
    assert (norms(found), norms(network)) == (0, 1)
    torch.testing.assert_close(found(images), network(images))
    with pytest.raises(ValueError, match="not pixels"):
        found(2 + images)


def test_what_is_not_folded_is_shared():
    """A head that is trained while attacks use the copy must be the same in both."""
    network = settled(nn.Sequential(plain(), nn.Flatten(), nn.Linear(4 * 36, 2)))
    images = torch.rand(2, 3, 8, 8, dtype=torch.float64)
    found = folded(network, images)
    with torch.no_grad():
        network[2].weight.mul_(2)
    torch.testing.assert_close(found(images), network(images))


class Shared(nn.Module):
    """Two batch norms follow one convolution, as in networks with a norm for attacked images."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)
        self.norms = nn.ModuleList([nn.BatchNorm2d(3), nn.BatchNorm2d(3)])

    def forward(self, images):
        return self.norms[1](self.conv(self.norms[0](self.conv(images))))


class Forked(nn.Module):
    """The convolution's output is used besides the batch norm's."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)

    def forward(self, images):
        maps = self.conv(images)
        return maps + self.norm(maps)


def hooked():
    network = plain()
    network[0].register_forward_hook(lambda module, given, out: 2 * out)
    return network


@pytest.mark.parametrize(
    "network",
    [
        Shared(),
        Forked(),
        hooked(),
        nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4, track_running_stats=False)),
        nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 4, 1)),
        nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.BatchNorm2d(4)),
        nn.Sequential(nn.Conv2d(3, 4, 1), nn.GroupNorm(2, 4)),
    ],
    ids=["shared", "forked", "hooked", "batch statistics", "before", "not linear", "no batch norm"],
)
def test_nothing_is_folded_that_would_change_the_function(network):
    network = settled(network) if norms(network) < 2 else network.double().eval()
    assert folding._folded(network) is network  # not only because the result would be refused
    assert folded(network, torch.rand(2, 3, 8, 8, dtype=torch.float64)) is network


def test_a_batch_norm_in_training_mode_is_left():
    network = settled(plain())
    network[1].train()
    assert folded(network, torch.rand(2, 3, 8, 8, dtype=torch.float64)) is network


def test_a_copy_that_differs_is_not_used():
    """Such a network exists if its code takes another way for symbols than for tensors."""

    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = plain()

        def forward(self, images):
            return self.body(images) * (1 if isinstance(images, torch.Tensor) else 2)

    network = settled(Odd())
    assert folded(network, torch.rand(2, 3, 8, 8, dtype=torch.float64)) is network
