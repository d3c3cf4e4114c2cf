"""Loading a checkpoint gives the trained encoder, or an error that says why it cannot."""

import json

import pytest
import torch
from torch import nn
from torchvision.models import resnet18

from solo_adv import UserError, load_pretrained
from solo_adv.encoders.foreign import EncoderSettings

MEAN, STD = [0.4914, 0.4822, 0.4465], [0.2470, 0.2435, 0.2616]


def network(padding):
    """A ResNet-18 built as solo-learn builds it (solo/methods/base.py), with used statistics."""
    torch.manual_seed(0)
    net = resnet18()
    net.fc = nn.Identity()
    if padding is not None:
        net.conv1 = nn.Conv2d(3, 64, kernel_size=3, stride=1, padding=padding, bias=False)
        net.maxpool = nn.Identity()
    with torch.no_grad():
        net.train()(torch.rand(8, 3, 32, 32))
    return net.eval()


@pytest.fixture
def saved(tmp_path):
    """A function that writes a checkpoint of a method of solo-learn's own and returns its path."""

    def save(net, dataset="cifar10", *, args=True, **changes):
        state = {f"backbone.{name}": value for name, value in net.state_dict().items()}
        state |= {f"momentum_{name}": value for name, value in state.items()}
        state |= {"classifier.weight": torch.rand(10, 512), "projector.0.weight": torch.rand(4, 4)}
        torch.save({"state_dict": state, "epoch": 3}, tmp_path / "byol-ep=3.ckpt")
        config = {
            "method": "byol",
            "backbone": {"name": "resnet18", "kwargs": {}},
            "data": {"dataset": dataset, "train_path": "./datasets"},
            "augmentations": [{"crop_size": "${size}", "num_crops": 2}],
            "size": 32,
            "method_kwargs": {"proj_hidden_dim": 4096, "proj_output_dim": 256},
        }
        if args:
            (tmp_path / "args.json").write_text(json.dumps({**config, **changes}))
        return tmp_path / "byol-ep=3.ckpt"

    return save


def pixels():
    return torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def normalized(mean, std):
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (mean, std))
    return (pixels() - mean) / std


@torch.no_grad()
def test_an_encoder_of_solo_learns_own_takes_pixels_and_its_stem(saved, capsys):
    net = network(padding=2)
    encoder = load_pretrained(saved(net))
    told = capsys.readouterr().err
    assert "resnet18 of solo-learn" in told
    assert f"the cifar_padding2 stem (3x3, padding 2); mean {MEAN} and std {STD}" in told
    assert encoder.features == "backbone"
    assert encoder.features_dim == 512
    assert encoder.image_size == 32
    assert encoder.crop_passes is None
    torch.testing.assert_close(encoder(pixels()), net(normalized(MEAN, STD)))
    assert not torch.allclose(encoder(pixels()), net(pixels()))


@torch.no_grad()
def test_imagenet_stem_and_statistics_for_other_data(saved):
    net = network(padding=None)
    encoder = load_pretrained(saved(net, "custom"))
    expected = net(normalized([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
    torch.testing.assert_close(encoder(pixels()), expected)


@torch.no_grad()
def test_what_the_user_names_goes_before_args_json(saved):
    net = network(padding=1)
    settings = EncoderSettings(stem="cifar", mean=[0.5] * 3, std=[0.25] * 3)
    encoder = load_pretrained(saved(net), settings=settings)
    torch.testing.assert_close(encoder(pixels()), net(normalized([0.5] * 3, [0.25] * 3)))


@torch.no_grad()
def test_without_args_json_the_normalisation_must_be_named(saved, capsys):
    net = network(padding=2)
    path = saved(net, args=False)
    with pytest.raises(UserError, match=r"encoder\.mean.*args\.json of its run"):
        load_pretrained(path)
    settings = EncoderSettings(mean=[0.0] * 3, std=[1.0] * 3)
    encoder = load_pretrained(path, settings=settings)
    torch.testing.assert_close(encoder(pixels()), net(pixels()))
    told = capsys.readouterr().err
    assert "cifar_padding2 stem (3x3, padding 2), which solo-learn uses (encoder.stem)" in told
    assert "the network 'backbone'" in told
    assert "without classifier, momentum_backbone, projector" in told


OLD = {
    "cifar10": (MEAN, [0.247, 0.243, 0.261]),
    "imagenet100": ([0.485, 0.456, 0.406], [0.228, 0.224, 0.225]),
}


@torch.no_grad()
@pytest.mark.parametrize(
    ("args", "padding", "mean", "std"),
    [
        ({"encoder": "resnet18", "dataset": "cifar10", "crop_size": [32]}, 2, *OLD["cifar10"]),
        ({"encoder": "resnet18", "dataset": "cifar100", "crop_size": 32}, 2, *OLD["cifar10"]),
        ({"backbone": "resnet18", "dataset": "cifar10", "crop_size": [32]}, 2, MEAN, STD),
        (
            {"backbone": "resnet18", "dataset": "cifar100", "backbone_args": {"cifar": True}},
            *(2, [0.5071, 0.4865, 0.4409], [0.2673, 0.2564, 0.2762]),
        ),
        (
            {"encoder": "resnet18", "dataset": "imagenet100", "crop_size": [32, 32]},
            *(None, *OLD["imagenet100"]),
        ),
        (
            {"encoder": "resnet18", "dataset": "custom", "mean": [0.5] * 3, "std": [0.25] * 3},
            *(None, [0.5] * 3, [0.25] * 3),
        ),
    ],
)
def test_versions_before_1_0_6(tmp_path, args, padding, mean, std):
    net = network(padding)
    name = "encoder" if "encoder" in args else "backbone"
    state = {f"{name}.{key}": value for key, value in net.state_dict().items()}
    state |= {f"momentum_{key}": torch.zeros_like(value) for key, value in state.items()}
    state |= {"classifier.weight": torch.rand(10, 512), "projector.0.weight": torch.rand(4, 4)}
    torch.save({"state_dict": state, "epoch": 3}, tmp_path / "byol-ep=3.ckpt")
    flat = {"method": "byol", "gpus": [0], "lr": 0.3, **args}
    (tmp_path / "args.json").write_text(json.dumps(flat))
    encoder = load_pretrained(tmp_path)
    assert encoder.image_size == (224 if args["dataset"] == "custom" else 32)
    torch.testing.assert_close(encoder(pixels()), net(normalized(mean, std)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("settings", [{"batch_norm": "clean"}, {"network": "momentum_backbone"}])
def test_settings_for_other_repositories_are_refused(saved, settings):
    with pytest.raises(UserError, match="Leave the key out"):
        load_pretrained(saved(network(padding=2)), settings=EncoderSettings(**settings))


def test_a_stem_that_the_weights_contradict_is_refused_with_the_option(saved):
    path = saved(network(padding=1), "custom")
    with pytest.raises(UserError, match=r"3x3.*imagenet stem.*encoder\.stem=STEM.*cifar_padding2"):
        load_pretrained(path)


def test_other_features_of_solo_learns_own_are_refused(saved):
    with pytest.raises(UserError, match="features=backbone"):
        load_pretrained(saved(network(padding=2)), features="hidden")


def test_an_args_json_of_something_else_is_refused(saved):
    path = saved(network(padding=2), data={})
    with pytest.raises(UserError, match=r"args\.json is not the config"):
        load_pretrained(path)


def test_a_checkpoint_without_backbone_is_refused(tmp_path):
    torch.save({"state_dict": {"encoder.conv1.weight": torch.rand(1)}}, tmp_path / "a.ckpt")
    with pytest.raises(UserError, match=r"backbone\.\*"):
        load_pretrained(tmp_path / "a.ckpt")


def test_weights_of_another_architecture_are_refused(saved):
    path = saved(network(padding=2), backbone={"name": "resnet50", "kwargs": {}})
    with pytest.raises(UserError, match="do not fit its config"):
        load_pretrained(path)


def test_a_resnets_config_beside_other_weights_is_refused(tmp_path, saved):
    path = saved(network(padding=2))
    torch.save({"state_dict": {"backbone.cls_token": torch.rand(1)}}, path)
    with pytest.raises(UserError, match="do not fit its config"):
        load_pretrained(path)


def test_settings_are_a_group():
    with pytest.raises(UserError, match="group of settings"):
        EncoderSettings.from_config(5)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"stem": "auto"}, "cifar_padding2"),
        ({"steem": "cifar"}, "stem"),
        ({"image_size": 0}, "at least 1"),
        ({"mean": [0.5]}, "three numbers"),
        ({"mean": 0.5}, "three numbers"),
        ({"std": "abc"}, "three numbers"),
    ],
)
def test_settings_are_checked(settings, words):
    with pytest.raises(UserError, match=words):
        EncoderSettings.from_config(settings)
