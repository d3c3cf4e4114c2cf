"""Copies of modules share nothing with their originals."""

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from solo_adv.support.modules import copied


def test_a_copy_is_equal_and_shares_nothing():
    module = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    module[0].bias.requires_grad_(False)
    module.tied = module[0]
    made = copied(module)
    assert made.tied is made[0]
    for (name, one), other in zip(
        module.state_dict().items(), made.state_dict().values(), strict=True
    ):
        assert torch.equal(one, other), name
        assert one.data_ptr() != other.data_ptr()
    assert [p.requires_grad for p in made.parameters()] == [True, False, True, True]


def test_modules_of_fake_tensors_can_be_copied():
    with FakeTensorMode():
        made = copied(nn.BatchNorm1d(2))
    assert made.running_mean.shape == made.weight.shape == (2,)
