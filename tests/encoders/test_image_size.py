"""Networks and images of other sizes: found before training, interpolated where timm can."""

import pytest
import torch
from PIL import Image
from torch import nn

from solo_adv.encoders.backbones import build_backbone
from solo_adv.encoders.encoder import Encoder
from solo_adv.encoders.image_size import fit_to_images, require_sizes, takes
from solo_adv.support.errors import UserError

SMALL = {"embed_dim": 16, "depth": 1, "num_heads": 2, "patch_size": 8}


def encoder_of(name, size=32, **kwargs):
    config = {
        "method": "timm",
        "method_kwargs": {},
        "backbone": {"name": name, "stem": "imagenet", "kwargs": kwargs},
        "data": {"dataset": "custom", "image_size": size + 8},
        "crops": {"size": size},
    }
    return Encoder(config, "backbone").requires_grad_(False).eval()


@pytest.fixture
def transformer():
    return encoder_of("vit_tiny_patch16_224", **SMALL)


def test_convolutional_networks_take_any_size_and_do_not_change(capsys):
    encoder = encoder_of("resnet18", width=8, layers=[1, 1, 1, 1])
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    fit_to_images(encoder, 40, 24)
    assert all(torch.equal(before[name], value) for name, value in encoder.state_dict().items())
    assert capsys.readouterr().err == ""


def test_trying_leaves_modes_and_statistics():
    backbone, _ = build_backbone("resnet18", image_size=32, width=8, layers=[1, 1, 1, 1])
    backbone.layer1.eval()
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    assert takes(backbone.train(), 32, 32)
    assert all(module.training for module in backbone.modules())
    assert all(torch.equal(before[name], value) for name, value in backbone.state_dict().items())


def test_positional_embeddings_are_interpolated_and_that_is_said(transformer, capsys):
    images = torch.rand(2, 3, 48, 48)
    assert not takes(transformer.backbone, 48, 48)
    fit_to_images(transformer, 48, 48)
    assert "positional embeddings are interpolated for 48x48" in capsys.readouterr().err
    assert transformer(images).shape == (2, 16)
    with pytest.raises(UserError, match="takes images of 48x48 pixels, and these have 32x32"):
        transformer(torch.rand(2, 3, 32, 32))
    assert not any(weight.requires_grad for weight in transformer.parameters())


def test_what_cannot_be_interpolated_is_refused(transformer, monkeypatch):
    monkeypatch.delattr(type(transformer.backbone), "set_input_size")
    with pytest.raises(UserError, match=r"takes images of 32 pixels, and these have 40x48: set"):
        fit_to_images(transformer, 48, 40)


def test_training_is_refused_before_it_begins(transformer):
    name = "vit_tiny_patch16_224"
    require_sizes(transformer.backbone, name, 32, (32, 32))
    with pytest.raises(UserError, match=r"validation images have 40x40: set data.image_size=32"):
        require_sizes(transformer.backbone, name, 32, (40, 40))
    with pytest.raises(UserError, match=r"does not take crops of 40 pixels \(crops.size\)"):
        require_sizes(transformer.backbone, name, 40, (40, 40))


def test_a_network_of_linear_layers():
    backbone = nn.Sequential(nn.Flatten(), nn.Linear(12, 4))
    assert takes(backbone, 2, 2)
    assert not takes(backbone, 3, 3)


def test_preprocess_crops_as_evaluations_do():
    image = Image.new("RGB", (60, 50))
    assert encoder_of("resnet18", width=8).preprocess(image).shape == (3, 32, 32)
