"""The low-rank branch of AutoLoRa against weights that are changed plainly."""

import copy

import pytest
import torch
from torch import nn

from solo_adv.encoders.backbones import build_backbone
from solo_adv.evaluation.heads.low_rank import LowRankBranch


@pytest.fixture
def encoder():
    torch.manual_seed(0)
    return build_backbone("resnet18", image_size=16, width=8, layers=[1, 1, 1, 1])[0].double()


def test_it_begins_as_the_encoder(encoder):
    pixels = torch.rand(3, 3, 16, 16, dtype=torch.float64)
    encoder.eval()
    torch.testing.assert_close(LowRankBranch(encoder, 2)(encoder, pixels), encoder(pixels))


def test_it_is_the_encoder_with_changed_weights(encoder):
    branch, rank = LowRankBranch(encoder, 2), 2
    for second in branch.second:
        nn.init.normal_(second)
    plain = copy.deepcopy(encoder)
    changed = []
    for name, module in plain.named_modules():
        if isinstance(module, nn.Conv2d) and name != "conv1":
            weight, k = module.weight, module.kernel_size[0]
            index = branch.names.index(f"{name}.weight")
            first, second = branch.first[index], branch.second[index]
            assert first.shape == (rank * k, weight.shape[1] * k)
            assert second.shape == (weight.shape[0] * k, rank * k)
            with torch.no_grad():
                weight += (second @ first).view(weight.shape) / rank
            changed.append(f"{name}.weight")
    assert branch.names == changed
    pixels = torch.rand(3, 3, 16, 16, dtype=torch.float64)
    torch.testing.assert_close(branch(encoder, pixels), plain(pixels))
    torch.testing.assert_close(encoder.bn1.running_mean, plain.bn1.running_mean)


def test_the_gradient_reaches_the_factors_alone(encoder):
    branch = LowRankBranch(encoder, 2)
    branch(encoder, torch.rand(3, 3, 16, 16, dtype=torch.float64)).square().sum().backward()
    assert all(parameter.grad is None for parameter in encoder.parameters())
    assert all(second.grad.abs().max() > 0 for second in branch.second)


def test_linear_layers_have_changes_too():
    network = nn.Sequential(nn.Flatten(), nn.Linear(12, 5), nn.ReLU(), nn.Linear(5, 4)).eval()
    branch = LowRankBranch(network, 3)
    assert branch.names == ["1.weight", "3.weight"]
    assert [tuple(first.shape) for first in branch.first] == [(3, 12), (3, 5)]
    pixels = torch.rand(2, 3, 2, 2)
    torch.testing.assert_close(branch(network, pixels), network(pixels))
