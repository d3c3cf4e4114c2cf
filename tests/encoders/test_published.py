"""Checkpoints of other repositories give the features of their own networks, or one clear line.

The files are made from the published structure: names and shapes are written down here.
"""

import argparse
import collections
import copy
import json
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from omegaconf import OmegaConf
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional
from torchvision.models import resnet18, resnet50

from solo_adv import UserError, load_pretrained
from solo_adv.encoders.backbones import build_backbone
from solo_adv.encoders.checkpoint import read_checkpoint
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


def plain(weights, images, padding, *, relu=True, large=False):
    """A ResNet of basic blocks, written down from its definition, in float64."""
    weights = {name: value.double() for name, value in weights.items()}

    def normalise(x, name):
        mean, variance = (weights[f"{name}.running_{key}"] for key in ("mean", "var"))
        x = (x - mean[:, None, None]) / (variance[:, None, None] + 1e-5).sqrt()
        return x * weights[f"{name}.weight"][:, None, None] + weights[f"{name}.bias"][:, None, None]

    def convolve(x, name, **kwargs):
        return functional.conv2d(x, weights[f"{name}.weight"], **kwargs)

    if large:
        x = normalise(convolve(images.double(), "conv1", stride=2, padding=3), "bn1").relu()
        x = functional.max_pool2d(x, 3, 2, 1)
    else:
        x = normalise(convolve(images.double(), "conv1", padding=padding), "bn1")
        x = x.relu() if relu else x
    for stage in (1, 2, 3, 4):
        for block in (0, 1):
            name = f"layer{stage}.{block}"
            stride = 2 if stage > 1 and block == 0 else 1
            y = normalise(convolve(x, f"{name}.conv1", stride=stride, padding=1), f"{name}.bn1")
            y = normalise(convolve(y.relu(), f"{name}.conv2", padding=1), f"{name}.bn2")
            if f"{name}.downsample.0.weight" in weights:
                x = convolve(x, f"{name}.downsample.0", stride=stride)
                x = normalise(x, f"{name}.downsample.1")
            x = (x + y).relu()
    return x.mean(dim=(2, 3)).float()


def test_the_plain_network_is_torchvisions(pixels):
    for padding in (1, 2):
        net = network(padding=padding)
        with torch.no_grad():
            torch.testing.assert_close(
                plain(net.state_dict(), pixels, padding), net(pixels), rtol=1e-4, atol=1e-5
            )


def agrees(encoder, weights, pixels, padding, mean=(0.0,) * 3, std=(1.0,) * 3, **kwargs):
    """Whether an encoder's features are those of the plain network on normalised images."""
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (mean, std))
    expected = plain(weights, (pixels - mean) / std, padding, **kwargs)
    return torch.allclose(encoder(pixels), expected, rtol=1e-4, atol=1e-5)


def of_advcl(branches, prefix=""):
    """The weights as ``models/resnet_cifar_multibn_ensembleFC.py`` of AdvCL names them."""
    state = {
        name.replace(".bn_list.0.", f".bn_list.{number}."): value
        for number, net in enumerate(branches)
        for name, value in of_acl(net, net).items()
        if "bn_list.1" not in name and "normalize" not in name and not name.startswith("fc.")
    }
    for classes in (2, 10, 50, 100, 500):
        state[f"fc_{classes:03}.weight"] = torch.rand(classes, 512)
    state |= {"head_ce.0.weight": torch.rand(4, 4), "head_proj.3.bias": torch.rand(128)}
    state |= {"head_pred.1.running_mean": torch.rand(128)}
    return {prefix + name: value for name, value in state.items()}


def three_branches():
    clean, attacked = two_branches()
    third = copy.deepcopy(attacked)
    third.bn1.bias.data += 0.5
    return clean, attacked, third


@pytest.mark.parametrize(
    ("named", "branch"),
    [(None, 1), ("clean", 0), ("attacked", 1), ("attacked_ce", 2), (2, 2)],
)
def test_advcl_and_a_infonce(tmp_path, pixels, capsys, named, branch):
    branches = three_branches()
    state = of_advcl(branches, "module.")
    torch.save({"model": state, "epoch": 1000, "rng_state": torch.rand(3)}, tmp_path / "e.ckpt")
    encoder = load_pretrained(tmp_path / "e.ckpt", settings=EncoderSettings(batch_norm=named))
    for number, net in enumerate(branches):
        assert agrees(encoder, net.state_dict(), pixels, 1) == (number == branch)
    said = capsys.readouterr().err
    for words in ("AdvCL", "padding 1", "mean [0.0, 0.0, 0.0]", "fc_002", "head_proj"):
        assert words in said
    assert f"the batch norm of {('clean', 'attacked', 'attacked_ce')[branch]} views" in said


DEACL = ([0.4914, 0.4822, 0.4465], [0.247, 0.243, 0.261])


def of_deacl(student, teacher):
    """The weights as DeACL's lightning module names them: its teacher is a momentum backbone."""
    state = {"classifier.weight": torch.rand(10, 512), "classifier_adv.bias": torch.rand(10)}
    for prefix, net in (("backbone.", student), ("momentum_backbone.", teacher)):
        state |= {f"{prefix}{name}": value for name, value in net.state_dict().items()}
        state |= {f"{prefix}normalize.mean": torch.tensor(DEACL[0])}
        state |= {f"{prefix}normalize.std": torch.tensor(DEACL[1])}
    return state


@pytest.mark.parametrize("beside", [True, False])
def test_deacl_is_its_student_with_padding_2(tmp_path, pixels, capsys, beside):
    student, teacher = network(padding=2), network(padding=2, seed=5)
    if beside:
        flat = {"method": "mocov2_kd_at", "backbone": "resnet18", "dataset": "cifar10"}
        (tmp_path / "args.json").write_text(json.dumps(flat))
    torch.save({"state_dict": of_deacl(student, teacher)}, tmp_path / "a-ep=99.ckpt")
    encoder = load_pretrained(tmp_path)
    assert agrees(encoder, student.state_dict(), pixels, 2, *DEACL)
    said = capsys.readouterr().err
    for words in ("resnet18 of DeACL", "padding 2", "0.243", "the network 'backbone'"):
        assert words in said
    named = EncoderSettings(network="momentum_backbone", stem="cifar", mean=[0] * 3, std=[1] * 3)
    encoder = load_pretrained(tmp_path, settings=named)
    assert agrees(encoder, teacher.state_dict(), pixels, 1)


def test_one_batch_norm_of_the_acl_family(tmp_path, pixels, capsys):
    net = network()
    held = {"normalize.mean": torch.tensor(MEAN), "normalize.std": torch.tensor(STD)}
    state = {**held, **net.state_dict(), "fc.weight": torch.rand(10, 512)}
    torch.save({"state_dict": state, "optim": {}}, tmp_path / "model.pt")
    assert agrees(load_pretrained(tmp_path / "model.pt"), net.state_dict(), pixels, 1, MEAN, STD)
    assert "DynACL" in capsys.readouterr().err


def test_the_networks_for_stl10_have_images_of_96_pixels(tmp_path, pixels):
    clean, attacked = network(padding=None), network(padding=None, seed=1)
    torch.save({"state_dict": of_acl(clean, attacked)}, tmp_path / "model.pt")
    encoder = load_pretrained(tmp_path / "model.pt")
    assert encoder.image_size == 96
    assert encoder.config["backbone"]["stem"] == "imagenet"
    assert agrees(encoder, attacked.state_dict(), pixels, 0, MEAN, STD, large=True)


def test_another_normalisation_in_the_file_names_no_family(tmp_path):
    held = {"normalize.mean": torch.full((3,), 0.5), "normalize.std": torch.full((3,), 0.5)}
    torch.save({**held, **network().state_dict()}, tmp_path / "a.pt")
    with pytest.raises(UserError, match=r"encoder\.stem=cifar") as refused:
        load_pretrained(tmp_path / "a.pt")
    assert "encoder.mean" not in str(refused.value)


def as_a_list(net, first_stage):
    """The weights as a list of the network's layers names them; lightly's blocks have shortcuts."""
    places = {"conv1": 0, "bn1": 1} | {f"layer{n}": n - 1 + first_stage for n in (1, 2, 3, 4)}
    state = {}
    for name, value in net.state_dict().items():
        first, _, rest = name.partition(".")
        rest = rest.replace("downsample.", "shortcut.") if first_stage == 2 else rest
        state[f"backbone.{places[first]}.{rest}"] = value
    return state


def test_lightlys_resnet_has_no_relu_in_its_stem(tmp_path, pixels, capsys):
    net = network()
    state = as_a_list(net, 2) | {"projection_head.layers.0.weight": torch.rand(4, 4)}
    state |= {
        name.replace("backbone.", "backbone_momentum."): torch.zeros_like(value)
        for name, value in state.items()
    }
    torch.save({"state_dict": state}, tmp_path / "l.ckpt")
    encoder = load_pretrained(tmp_path / "l.ckpt")
    assert agrees(encoder, net.state_dict(), pixels, 1, MEAN, STD, relu=False)
    said = capsys.readouterr().err
    assert "resnet18 of lightly: the cifar_linear stem (3x3, padding 1, no ReLU)" in said
    assert "without backbone_momentum, projection_head" in said
    named = EncoderSettings(stem="cifar", mean=[0.0] * 3, std=[1.0] * 3)
    encoder = load_pretrained(tmp_path / "l.ckpt", settings=named)
    assert agrees(encoder, net.state_dict(), pixels, 1)


@pytest.mark.parametrize("first_stage", [3, 4])
def test_a_list_of_torchvisions_layers(tmp_path, pixels, first_stage):
    net = network(padding=None)
    torch.save({"state_dict": as_a_list(net, first_stage)}, tmp_path / "l.ckpt")
    named = EncoderSettings(mean=MEAN, std=STD) if first_stage == 3 else None
    encoder = load_pretrained(tmp_path / "l.ckpt", settings=named)
    assert encoder.image_size == 224
    assert agrees(encoder, net.state_dict(), pixels, 0, MEAN, STD, large=True)


def test_blocks_with_a_shortcut_have_padding_1(tmp_path, pixels):
    net = network()
    state = {k.replace("downsample", "shortcut"): v for k, v in net.state_dict().items()}
    state["linear.weight"] = torch.rand(10, 512)
    torch.save({"model": state, "optimizer_state": {}}, tmp_path / "ckpt.t7")
    with pytest.raises(UserError, match=r"encoder\.mean") as refused:
        load_pretrained(tmp_path / "ckpt.t7")
    assert "encoder.stem" not in str(refused.value)
    named = EncoderSettings(mean=[0.0] * 3, std=[1.0] * 3)
    encoder = load_pretrained(tmp_path / "ckpt.t7", settings=named)
    assert agrees(encoder, net.state_dict(), pixels, 1)


def test_torchvisions_own_weights_say_everything(tmp_path, capsys):
    net = network(padding=None)
    save_file({**net.state_dict(), "fc.weight": torch.rand(1000, 512)}, tmp_path / "r.safetensors")
    encoder = load_pretrained(tmp_path / "r.safetensors")
    pixels = torch.rand(2, 3, 64, 64)
    assert agrees(encoder, net.state_dict(), pixels, 0, MEAN, STD, large=True)
    assert "torchvision or timm" in capsys.readouterr().err


def test_another_networks_classifier_does_not_make_it_solo_learns(tmp_path):
    torch.save(
        {**network().state_dict(), "classifier.weight": torch.rand(10, 512)}, tmp_path / "a.pt"
    )
    with pytest.raises(UserError, match=r"encoder\.stem=cifar"):
        load_pretrained(tmp_path / "a.pt")


def test_what_is_no_pytorch_file_is_refused(tmp_path):
    (tmp_path / "a.pt").write_text("hello")
    with pytest.raises(UserError, match="not a PyTorch file, or damaged"):
        load_pretrained(tmp_path / "a.pt")


def test_width_and_depth_are_recognised(tmp_path, pixels):
    net, _ = build_backbone("resnet18", image_size=32, width=16, layers=[1, 2, 1, 1])
    torch.save(net.state_dict(), tmp_path / "narrow.pth")
    named = EncoderSettings(stem="cifar", mean=[0.0] * 3, std=[1.0] * 3)
    encoder = load_pretrained(tmp_path / "narrow.pth", settings=named)
    with torch.no_grad():
        torch.testing.assert_close(encoder(pixels), net.eval()(pixels))


@pytest.mark.parametrize("patch", [4, 16])
def test_vision_transformers_of_timm(tmp_path, pixels, capsys, patch):
    torch.manual_seed(0)
    net = timm.create_model(
        "vit_tiny_patch16_224", img_size=32, patch_size=patch, num_classes=10
    ).eval()
    state = {f"backbone.{name}": value for name, value in net.state_dict().items()}
    torch.save({"state_dict": {**state, "projector.0.weight": torch.rand(4, 4)}}, tmp_path / "v.pt")
    with pytest.raises(UserError, match=r"encoder\.mean"):
        load_pretrained(tmp_path / "v.pt")
    encoder = load_pretrained(tmp_path / "v.pt", settings=EncoderSettings(mean=MEAN, std=STD))
    net.reset_classifier(0)
    torch.testing.assert_close(encoder(pixels), features(net, pixels), rtol=1e-4, atol=1e-5)
    said = capsys.readouterr().err
    for words in ("vit_tiny_patch16_224 of timm", "images of 32 pixels", "head, projector"):
        assert words in said


def test_any_network_of_timm_by_its_name(tmp_path, capsys):
    net = timm.create_model("mobilenetv3_small_050", num_classes=10).eval()
    torch.save({"model": {f"net.{k}": v for k, v in net.state_dict().items()}}, tmp_path / "m.pt")
    with pytest.raises(UserError, match=r"encoder\.backbone=NAME"):
        load_pretrained(tmp_path / "m.pt")
    named = EncoderSettings(backbone="mobilenetv3_small_050", mean=MEAN, std=STD, image_size=64)
    encoder = load_pretrained(tmp_path / "m.pt", settings=named)
    net.reset_classifier(0)
    pixels = torch.rand(2, 3, 64, 64)
    torch.testing.assert_close(encoder(pixels), features(net, pixels), rtol=1e-4, atol=1e-5)
    assert "without classifier" in capsys.readouterr().err


def test_several_networks_must_be_told_apart(tmp_path, pixels):
    one, other = network(), network(seed=5)
    state = {f"first.{name}": value for name, value in one.state_dict().items()}
    state |= {f"second.{name}": value for name, value in other.state_dict().items()}
    torch.save(state, tmp_path / "two.pt")
    described = {"stem": "cifar", "mean": [0.0] * 3, "std": [1.0] * 3}
    with pytest.raises(UserError, match=r"\(first, second\).*encoder\.network=NAME"):
        load_pretrained(tmp_path / "two.pt", settings=EncoderSettings(**described))
    with pytest.raises(UserError, match=r"encoder\.network=third.*It has first, second"):
        load_pretrained(tmp_path / "two.pt", settings=EncoderSettings(network="third", **described))
    named = EncoderSettings(network="second", **described)
    assert agrees(
        load_pretrained(tmp_path / "two.pt", settings=named), other.state_dict(), pixels, 1
    )


@pytest.mark.parametrize("several", [True, False])
def test_moco_keeps_its_own_encoder_and_dynacl_the_average(tmp_path, pixels, several):
    online, average = network(), network(seed=5)
    make = (
        (lambda net, p: of_acl(net, net, p))
        if several
        else (lambda net, p: {f"{p}{name}": value for name, value in net.state_dict().items()})
    )
    state = make(online, "module.encoder_q.") | make(average, "module.encoder_k.")
    torch.save({"state_dict": {**state, "module.queue": torch.rand(2)}}, tmp_path / "m.pt")
    named = EncoderSettings(stem="cifar", mean=[0.0] * 3, std=[1.0] * 3)
    encoder = load_pretrained(tmp_path / "m.pt", settings=named)
    kept = average if several else online
    assert agrees(encoder, kept.state_dict(), pixels, 1)


def made_of(name, module):
    """A class with another module's name, as a file pickles it."""
    made = type(name, (dict,) if name == "AttributeDict" else (), {"__module__": module})
    holder = types.ModuleType(module)
    setattr(holder, name, made)
    return holder, made


def test_settings_beside_the_weights_are_passed_over(tmp_path, pixels, monkeypatch):
    clean, attacked = two_branches()
    holder, attributes = made_of("AttributeDict", "pytorch_lightning.utilities.parsing")
    for module in ("pytorch_lightning", "pytorch_lightning.utilities", holder.__name__):
        monkeypatch.setitem(sys.modules, module, types.ModuleType(module))
    monkeypatch.setitem(sys.modules, holder.__name__, holder)
    beside = {
        "cfg": OmegaConf.create({"a": [1, None, {"b": 1.5}], "c": "${a}"}),
        "args": argparse.Namespace(save_dir=Path("/runs"), lr=np.float32(0.1)),
        "rng": np.random.RandomState(0).get_state(),
        "history": collections.defaultdict(list, {"loss": [1.0]}),
        "hyper_parameters": attributes(lr=0.1),
    }
    for modern in (True, False):
        torch.save(
            {"state_dict": of_acl(clean, attacked), **beside},
            tmp_path / "a.pt",
            _use_new_zipfile_serialization=modern,
        )
        encoder = load_pretrained(tmp_path / "a.pt")
        assert agrees(encoder, attacked.state_dict(), pixels, 1, MEAN, STD)
    with pytest.raises(UserError, match=r"omegaconf\.\S+, among others"):
        read_checkpoint(tmp_path / "a.pt")


def test_numbers_of_another_version_of_numpy_are_passed_over(tmp_path, pixels):
    clean, attacked = two_branches()
    held = {"state_dict": of_acl(clean, attacked), "acc": np.float64(0.5)}
    torch.save(held, tmp_path / "a.pt", _use_new_zipfile_serialization=False)
    content = (tmp_path / "a.pt").read_bytes()
    names = [b"numpy._core.multiarray\n", b"numpy.core.multiarray\n"]  # of version 2 and 1
    ours = next(name for name in names if name in content)
    other = next(name for name in names if name != ours)
    (tmp_path / "a.pt").write_bytes(content.replace(ours, other))
    encoder = load_pretrained(tmp_path / "a.pt")
    assert agrees(encoder, attacked.state_dict(), pixels, 1, MEAN, STD)


@pytest.mark.parametrize("call", [eval, exec, getattr])
def test_builtin_functions_are_refused(tmp_path, call):
    calls = type("Calls", (), {"__reduce__": lambda self: (call, ("1",))})
    torch.save({"state_dict": network().state_dict(), "x": calls()}, tmp_path / "a.pt")
    with pytest.raises(UserError, match=rf"{call.__name__}, among others, which is refused"):
        load_pretrained(tmp_path / "a.pt")


class Writes:
    """Pickled as a call of a function of NumPy, whose objects are passed over."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (np.save, (str(self.path), np.arange(3)))


def test_nothing_that_is_passed_over_runs(tmp_path):
    clean, attacked = two_branches()
    state = of_acl(clean, attacked)
    torch.save({"state_dict": state, "x": Writes(tmp_path / "written.npy")}, tmp_path / "a.pt")
    load_pretrained(tmp_path / "a.pt")
    assert not (tmp_path / "written.npy").exists()


class Commands:
    def __reduce__(self):
        return (subprocess.getoutput, ("true",))


def test_an_unknown_object_is_named(tmp_path):
    torch.save({"state_dict": network().state_dict(), "x": Commands()}, tmp_path / "a.pt")
    with pytest.raises(
        UserError, match=r"holds \w+\.getoutput, among.*would run code.*torch\.save"
    ):
        load_pretrained(tmp_path / "a.pt")


def test_a_whole_module_is_refused_by_its_class(tmp_path):
    torch.save(network(), tmp_path / "a.pt")
    with pytest.raises(UserError, match=r"torchvision\.models\.resnet\.ResNet"):
        load_pretrained(tmp_path / "a.pt")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda state: state | {"surprise.weight": torch.rand(2)}, "belong neither.*surprise"),
        (
            lambda state: {k: v for k, v in state.items() if k != "bn1.bias"},
            r"do not fit.*bn1\.bias",
        ),
        (lambda state: state | {"layer1.0.se.weight": torch.rand(2)}, r"do not fit.*layer1\.0\.se"),
        (lambda state: state | {"layer1.0.conv1.weight": torch.rand(64, 64, 1, 1)}, "do not fit"),
        (lambda state: state | {"epochs": 5}, "holds epochs, which is a int"),
    ],
)
def test_nothing_is_loaded_in_part(tmp_path, change, said):
    torch.save({"state_dict": change(network().state_dict())}, tmp_path / "a.pt")
    named = EncoderSettings(stem="cifar", mean=MEAN, std=STD)
    with pytest.raises(UserError, match=said):
        load_pretrained(tmp_path / "a.pt", settings=named)


@pytest.mark.parametrize(
    ("count", "named", "said"),
    [
        (4, None, r"4 batch norms.*encoder\.batch_norm=0 to 3"),
        (2, "attacked_ce", "Accepted: clean, attacked, 0, 1"),
        (2, 2, "Accepted: clean, attacked, 0, 1"),
    ],
)
def test_a_batch_norm_that_is_not_there_or_not_known_is_refused(tmp_path, count, named, said):
    branches = [*three_branches(), network(seed=5)][:count]
    torch.save({"state_dict": of_advcl(branches)}, tmp_path / "a.pt")
    with pytest.raises(UserError, match=said):
        load_pretrained(tmp_path / "a.pt", settings=EncoderSettings(batch_norm=named))


def test_the_fourth_batch_norm_by_its_number(tmp_path, pixels):
    branches = [*three_branches(), copy.deepcopy(three_branches()[2])]
    branches[3].bn1.bias.data -= 1
    torch.save({"state_dict": of_advcl(branches)}, tmp_path / "a.pt")
    encoder = load_pretrained(tmp_path / "a.pt", settings=EncoderSettings(batch_norm=3))
    assert agrees(encoder, branches[3].state_dict(), pixels, 1)
    assert not agrees(encoder, branches[2].state_dict(), pixels, 1)
