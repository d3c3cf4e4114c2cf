"""The average of the weights is computed correctly, frozen, saved and evaluated."""

import pytest
import torch
from torch import nn

from solo_adv import UserError
from solo_adv.encoders.loading import encoder_from
from solo_adv.methods.averaging import AveragedWeights, Averaging


class Holder(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))


def test_weights_and_statistics_are_averaged_exponentially():
    holder = Holder().double()
    averaged = AveragedWeights(0.9, {"backbone": holder.backbone})
    expected = {k: v.clone() for k, v in holder.state_dict().items()}
    for _ in range(5):
        with torch.no_grad():
            for tensor in holder.state_dict().values():
                tensor.add_(1)
        averaged.update(holder)
        for key, value in holder.state_dict().items():
            moves = value.is_floating_point()
            expected[key] = 0.9 * expected[key] + 0.1 * value if moves else value.clone()
    for key, value in averaged.state_dict().items():
        torch.testing.assert_close(value, expected[key], msg=key)


def test_the_average_stays_in_eval_mode_and_requires_no_gradient():
    holder = Holder()
    holder.averaged = AveragedWeights(0.9, {"backbone": holder.backbone})
    holder.train()
    assert not any(module.training for module in holder.averaged.modules())
    assert not any(p.requires_grad for p in holder.averaged.parameters())


def test_a_momentum_encoder_has_statistics_of_its_own():
    holder = Holder()
    holder.averaged = AveragedWeights(0.9, {"backbone": holder.backbone}, own_statistics=True)
    holder.train()
    assert all(module.training for module in holder.averaged.modules())
    assert not any(p.requires_grad for p in holder.averaged.parameters())
    own = {k: v.clone() for k, v in holder.averaged.state_dict().items()}
    holder.backbone(torch.randn(8, 3))
    with torch.no_grad():
        holder.backbone[0].weight.add_(1)
    holder.averaged.update(holder)
    for key, value in holder.averaged.state_dict().items():
        assert torch.equal(value, own[key]) == (key != "backbone.0.weight"), key
    holder.eval()
    assert not any(module.training for module in holder.averaged.modules())


@pytest.mark.parametrize("decay", [1, -0.1, "much", True])
def test_decays_that_make_no_sense(decay):
    with pytest.raises(UserError, match=r"averaging\.decay"):
        Averaging(decay=decay)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"views": "first"}, r"averaging\.views"),
        ({"views": "second"}, "set averaging.decay, for instance to 0.99"),
    ],
)
def test_views_that_make_no_sense(wrong, words):
    with pytest.raises(UserError, match=words):
        Averaging(**wrong)


@pytest.mark.parametrize("judged", ["average", "online"])
def test_evaluations_use_the_weights_that_the_config_names(build, fit, tmp_path, judged):
    method = build("cfamc", **{"averaging.decay": 0.5, "averaging.encoder": judged})
    trainer = fit(method, batches=3)
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    encoder = encoder_from(tmp_path / "a.ckpt")
    online = method.backbone.state_dict()
    wanted = method.averaged.backbone.state_dict() if judged == "average" else online
    for key, value in encoder.backbone.state_dict().items():
        assert torch.equal(value, wanted[key]), key
    assert not torch.equal(online["conv1.weight"], method.averaged.backbone.conv1.weight)


def test_averaging_does_not_change_the_trained_weights(build, fit):
    plain, averaging = build("cfamc"), build("cfamc", **{"averaging.decay": 0.9})
    fit(plain, batches=2)
    fit(averaging, batches=2)
    for key, value in plain.state_dict().items():
        assert torch.equal(averaging.state_dict()[key], value), key
