"""Checkpoints of other repositories give the features of their own networks, or one clear line.

The files are made from the published structure: names and shapes are written down here.
"""

import argparse
import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torchvision.models import resnet18, resnet50

from solo_adv import UserError, load_pretrained
from solo_adv.encoders.foreign import EncoderSettings

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


def network(build=resnet18, padding=1, seed=0):
    """A ResNet with the 3x3 stem of the field and used batch norm statistics."""
    torch.manual_seed(seed)
    net = build()
    net.fc = nn.Identity()
    if padding is not None:
        net.conv1 = nn.Conv2d(3, 64, 3, 1, padding, bias=False)
        net.maxpool = nn.Identity()
    with torch.no_grad():
        net.train()(torch.rand(8, 3, 32, 32))
    return net.eval()


def features(net, pixels, mean=MEAN, std=STD):
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (mean, std))
    with torch.no_grad():
        return net((pixels - mean) / std)


def of_acl(clean, attacked, prefix=""):
    """The weights as ``models/resnet_multi_bn.py`` of ACL, DynACL and AIR names them."""
    state = {
        f"{prefix}normalize.mean": torch.tensor(MEAN),
        f"{prefix}normalize.std": torch.tensor(STD),
    }
    for branch, net in enumerate((clean, attacked)):
        for name, value in net.state_dict().items():
            place, _, last = name.rpartition(".")
            place = place.replace("downsample.0", "downsample.conv").replace(
                "downsample.1", "downsample.bn"
            )
            if place.rpartition(".")[2].startswith("bn"):
                place = f"{place}.bn_list.{branch}"
            state[f"{prefix}{place}.{last}"] = value
    for number in (1, 2, 3):
        state[f"{prefix}fc.fc{number}.weight"] = torch.rand(512, 512)
        state[f"{prefix}fc.bn{number}.bn_list.0.weight"] = torch.rand(512)
        state[f"{prefix}fc.bn{number}.bn_list.1.weight"] = torch.rand(512)
    return state


def two_branches():
    clean, attacked = network(), network()
    for layer in attacked.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean += 0.1
            layer.bias.data += 0.05
    return clean, attacked


@pytest.fixture
def pixels():
    return torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("branch", [None, "attacked", "clean"])
def test_acl_and_its_family(tmp_path, pixels, capsys, prefix, branch):
    clean, attacked = two_branches()
    file = tmp_path / "checkpoint.pt"
    torch.save({"epoch": 1000, "state_dict": of_acl(clean, attacked, prefix), "optim": {}}, file)
    settings = EncoderSettings(batch_norm=branch) if branch else None
    encoder = load_pretrained(file, settings=settings)
    chosen, other = (clean, attacked) if branch == "clean" else (attacked, clean)
    torch.testing.assert_close(encoder(pixels), features(chosen, pixels), rtol=1e-5, atol=1e-5)
    assert not torch.allclose(encoder(pixels), features(other, pixels), rtol=1e-3)
    said = capsys.readouterr().err
    for words in (
        "resnet18",
        "cifar stem",
        "32 pixels",
        branch or "attacked",
        "without fc",
        "0.485",
    ):
        assert words in said


def test_dynacl_keeps_its_momentum_encoder(tmp_path, pixels, capsys):
    clean, attacked = two_branches()
    online = network(seed=5)
    state = of_acl(online, online, "encoder_q.") | of_acl(clean, attacked, "encoder_k.")
    torch.save({"epoch": 1000, "state_dict": state}, tmp_path / "model_1000.pt")
    encoder = load_pretrained(tmp_path / "model_1000.pt")
    torch.testing.assert_close(encoder(pixels), features(attacked, pixels), rtol=1e-5, atol=1e-5)
    assert "the network 'encoder_k'" in capsys.readouterr().err


@pytest.mark.parametrize("wrap", ["bare", "state_dict", "model"])
@pytest.mark.parametrize("prefix", ["", "encoder.", "module.encoder_k.", "_orig_mod."])
def test_resnets_with_torchvisions_names(tmp_path, pixels, wrap, prefix):
    net = network(padding=2)
    state = {f"{prefix}{name}": value for name, value in net.state_dict().items()}
    state[f"{prefix}fc.weight"] = torch.rand(10, 512)
    file = tmp_path / "net.pth"
    torch.save(state if wrap == "bare" else {wrap: state, "epoch": 3}, file)
    named = EncoderSettings(stem="cifar_padding2", mean=[0, 0, 0], std=[1, 1, 1])
    encoder = load_pretrained(file, settings=named)
    expected = features(net, pixels, [0.0] * 3, [1.0] * 3)
    torch.testing.assert_close(encoder(pixels), expected, rtol=1e-5, atol=1e-5)


def test_a_bottleneck_network_with_the_imagenet_stem(tmp_path):
    net = network(resnet50, padding=None)
    torch.save(net.state_dict(), tmp_path / "resnet50.pth")
    encoder = load_pretrained(
        tmp_path / "resnet50.pth", settings=EncoderSettings(mean=MEAN, std=STD)
    )
    assert encoder.image_size == 224
    pixels = torch.rand(2, 3, 64, 64)
    torch.testing.assert_close(encoder(pixels), features(net, pixels), rtol=1e-4, atol=1e-4)


def test_harmless_values_beside_the_weights_are_read(tmp_path, pixels):
    clean, attacked = two_branches()
    beside = {
        "args": argparse.Namespace(lr=0.1, name="acl"),
        "best": np.float64(0.5),
        "count": np.int64(3),
    }
    torch.save({"state_dict": of_acl(clean, attacked), **beside}, tmp_path / "a.pt")
    torch.testing.assert_close(
        load_pretrained(tmp_path / "a.pt")(pixels), features(attacked, pixels), rtol=1e-5, atol=1e-5
    )


class Runs:
    def __reduce__(self):
        return (Path("/tmp/touched").touch, ())


def test_what_would_run_code_is_refused_by_its_name(tmp_path):
    torch.save({"state_dict": {}, "trainer": Runs()}, tmp_path / "a.pt")
    with pytest.raises(UserError, match=r"would run code.*torch\.save"):
        load_pretrained(tmp_path / "a.pt")


def one_branch_without(key):
    clean, attacked = two_branches()
    state = of_acl(clean, attacked)
    return {name: value for name, value in state.items() if key not in name}


@pytest.mark.parametrize(
    ("state", "settings", "said"),
    [
        (lambda: network().state_dict(), {"mean": MEAN, "std": STD}, r"encoder\.stem=cifar"),
        (lambda: network().state_dict(), {"stem": "cifar"}, r"encoder\.mean"),
        (
            lambda: network().state_dict(),
            {"batch_norm": "clean", "stem": "cifar"},
            "one batch norm",
        ),
        (lambda: {"head.weight": torch.rand(2)}, {}, "no weights of a backbone that is known"),
        (lambda: one_branch_without("layer3.1.bn2"), {}, "do not fit"),
        (lambda: one_branch_without("layer4"), {}, "no usual name"),
    ],
)
def test_what_is_not_whole_or_not_known_is_refused(tmp_path, state, settings, said):
    torch.save({"state_dict": state()}, tmp_path / "a.pt")
    with pytest.raises(UserError, match=said):
        load_pretrained(tmp_path / "a.pt", settings=EncoderSettings(**settings))


def test_three_batch_norms_are_refused(tmp_path):
    state = of_acl(*two_branches())
    state |= {k.replace("bn_list.1", "bn_list.2"): v for k, v in copy.copy(state).items()}
    torch.save({"state_dict": state}, tmp_path / "a.pt")
    with pytest.raises(UserError, match="3 batch norms"):
        load_pretrained(tmp_path / "a.pt")
