"""Building backbones by name: the reference's ResNet, narrow ones, and other timm models."""

import pytest
import timm
import torch
import torchvision
from torch import nn

from solo_adv import UserError
from solo_adv.encoders.backbones import architecture, build_backbone, set_stem


@pytest.mark.parametrize(("name", "dim"), [("resnet18", 512), ("resnet50", 2048)])
def test_resnets_are_torchvisions_with_the_cifar_stem(name, dim):
    ours, found = build_backbone(name, image_size=32)
    theirs = getattr(torchvision.models, name)()
    theirs.conv1 = nn.Conv2d(3, 64, kernel_size=3, stride=1, padding=1, bias=False)
    theirs.maxpool = theirs.fc = nn.Identity()
    theirs.load_state_dict(ours.state_dict())
    x = torch.rand(2, 3, 32, 32)
    assert found == dim
    torch.testing.assert_close(ours.eval()(x), theirs.eval()(x))


def test_large_images_get_the_imagenet_stem():
    backbone, _ = build_backbone("resnet18", image_size=224)
    assert backbone.conv1.kernel_size == (7, 7)
    assert isinstance(backbone.maxpool, nn.MaxPool2d)
    named, _ = build_backbone("resnet18", image_size=224, stem="cifar")
    assert named.conv1.kernel_size == (3, 3)


def test_narrow_and_shallow_resnets():
    backbone, dim = build_backbone("resnet18", image_size=16, width=16, layers=[1, 1, 1, 1])
    assert dim == 128
    assert backbone(torch.rand(2, 3, 16, 16)).shape == (2, 128)


def test_a_very_narrow_resnet_is_the_network_that_timm_builds():
    ours, dim = build_backbone("resnet18", image_size=16, width=4, stem="imagenet")
    theirs = timm.create_model(
        "resnet18", num_classes=0, channels=(4, 8, 16, 32), stem_type="deep", stem_width=2
    )
    set_stem(theirs, "imagenet", 4)
    theirs.load_state_dict(ours.state_dict())
    pixels = torch.rand(3, 3, 15, 15).contiguous(memory_format=torch.channels_last)
    with torch.no_grad():
        torch.testing.assert_close(ours.eval()(pixels), theirs.eval()(pixels))
    ours.train()(pixels).square().sum().backward()  # see `_subsample_first`
    assert dim == 32


def test_the_first_convolution_of_a_network_of_timm_keeps_to_its_memory():
    ours, _ = build_backbone("mobileone_s0", image_size=32)
    theirs = timm.create_model("mobileone_s0", num_classes=0)
    theirs.load_state_dict(ours.state_dict())
    pixels = torch.rand(2, 3, 31, 33).contiguous(memory_format=torch.channels_last)
    with torch.no_grad():
        exact = [network.double().eval()(pixels.double()) for network in (ours, theirs)]
    torch.testing.assert_close(*exact)
    ours.float().to(memory_format=torch.channels_last).train()(pixels).sum().backward()


def test_any_timm_model_whatever_a_preset_says_of_resnets():
    with pytest.warns(UserWarning, match="vit_tiny_patch16_224 ignores .*width and layers"):
        backbone, dim = build_backbone(
            "vit_tiny_patch16_224", image_size=16, width=16, layers=[1], patch_size=4, depth=1
        )
    assert backbone(torch.rand(2, 3, 16, 16)).shape == (2, dim)


def test_the_width_of_the_features_is_measured():
    # MobileNet v3 has another number of channels before the last layer that it keeps.
    backbone, dim = build_backbone("mobilenetv3_small_050", image_size=32)
    assert dim != backbone.num_features
    assert backbone(torch.rand(2, 3, 32, 32)).shape == (2, dim)


def test_a_network_of_another_module_has_no_option_of_resnets():
    backbone, dim = build_backbone("resnetv2_18", image_size=32)
    assert backbone.training
    assert backbone(torch.rand(2, 3, 32, 32)).shape == (2, dim)
    with pytest.raises(UserError, match=r"resnetv2_18 'stem_widht'\. Did you mean"):
        build_backbone("resnetv2_18", image_size=32, stem_widht=3)


def test_a_network_without_one_vector_for_each_image_is_refused():
    with pytest.raises(UserError, match=r"gives \(1, 512, 1, 1\) for one image"):
        build_backbone("resnetv2_18", image_size=32, global_pool="")


def test_pretrained_weights(monkeypatch):
    asked = []

    def create_model(name, *, pretrained=False, **kwargs):
        asked.append((name, pretrained))
        raise OSError("no route to host")

    monkeypatch.setattr(timm, "create_model", create_model)
    with pytest.raises(UserError, match=r"weights of resnet18: no route .*timm:resnet18@FILE"):
        build_backbone("resnet18", image_size=224, pretrained=True)
    assert asked == [("resnet18", True)]
    with pytest.raises(UserError, match=r"are for backbone\.stem=imagenet and width=64"):
        build_backbone("resnet18", image_size=32, pretrained=True)
    assert architecture({"pretrained": True, "width": 8}) == {"width": 8}


@pytest.mark.parametrize(
    ("name", "settings", "words"),
    [
        ("resnet19", {}, "resnet18"),
        ("resnet18", {"stem": "cfar"}, "cifar"),
        ("resnet18", {"wide": 2}, "backbone.kwargs of resnet18 'wide'. Did you mean 'width'"),
    ],
)
def test_mistakes(name, settings, words):
    with pytest.raises(UserError, match=words):
        build_backbone(name, image_size=32, **settings)
