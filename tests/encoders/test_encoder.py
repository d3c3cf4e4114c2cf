"""An encoder behaves like other people's modules, and prepares images as evaluations do."""

import copy
import pickle

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from solo_adv import UserError, load_pretrained
from solo_adv.data.decoding import decode
from solo_adv.encoders.encoder import Encoder

NAME = "cfamc_resnet10w16_digits_m3"


@pytest.fixture(scope="module")
def encoder():
    return load_pretrained(NAME)


@pytest.fixture(scope="module")
def images():
    return torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def features(encoder, images):
    return encoder(images)


def encoder_of(backbone, size=32, **kwargs):
    """An untrained encoder of a backbone that timm builds."""
    config = {
        "method": "timm",
        "method_kwargs": {},
        "backbone": {"name": backbone, "stem": "imagenet", "kwargs": kwargs},
        "data": {"mean": [0.5, 0.4, 0.3], "std": [0.2, 0.3, 0.4], "image_size": size},
        "crops": {"size": size},
    }
    return Encoder(config, "backbone").requires_grad_(False).eval()


@pytest.fixture(scope="module")
def transformer():
    small = {"embed_dim": 16, "depth": 2, "num_heads": 2, "patch_size": 8}
    return encoder_of("vit_tiny_patch16_224", **small)


@pytest.mark.parametrize(
    "made",
    [
        copy.deepcopy,
        lambda module: pickle.loads(pickle.dumps(module)),
        nn.DataParallel,
        lambda module: copy.deepcopy(module).to("cpu", torch.float32),
        lambda module: torch.compile(module, backend="eager", fullgraph=True),
    ],
    ids=["deepcopy", "pickle", "DataParallel", "to", "compile"],
)
def test_a_copy_computes_the_same(encoder, images, features, made):
    torch.testing.assert_close(made(encoder)(images), features)


@pytest.mark.parametrize(
    ("dtype", "limit"), [(torch.float16, 0.01), (torch.bfloat16, 0.05), (torch.float64, 1e-5)]
)
def test_other_precisions(encoder, images, features, dtype, limit):
    found = copy.deepcopy(encoder).to(dtype)(images.to(dtype))
    assert found.dtype == dtype
    error = (found.double() - features.double()).abs().max() / features.abs().max()
    assert error < limit


def test_other_precisions_normalise_in_the_same_precision(transformer):
    half = copy.deepcopy(transformer).half()
    assert half(torch.rand(1, 3, 32, 32).half()).dtype == torch.float16


@pytest.mark.parametrize("kind", ["encoder", "transformer"])
def test_an_exported_program_takes_other_batch_sizes(kind, request, images):
    module = request.getfixturevalue(kind)
    side = module.image_size
    pixels = torch.rand(5, 3, side, side)
    batch = torch.export.Dim("batch", max=1024)  # torch 2.6 needs a bound
    program = torch.export.export(module, (pixels[:2],), dynamic_shapes=({0: batch},))
    torch.testing.assert_close(program.module()(pixels), module(pixels), rtol=1e-4, atol=1e-5)


def test_one_image_gets_the_features_that_it_gets_in_a_batch(encoder, images, features):
    torch.testing.assert_close(encoder(images[1:2]), features[1:2], rtol=1e-4, atol=1e-5)


def test_a_convolutional_network_takes_images_of_any_size(encoder):
    assert encoder(torch.rand(2, 3, 40, 24)).shape == (2, encoder.num_features)


def test_a_transformer_takes_other_sizes_if_it_is_told():
    small = {"embed_dim": 16, "depth": 1, "num_heads": 2, "patch_size": 8}
    encoder = encoder_of("vit_tiny_patch16_224", dynamic_img_size=True, **small)
    assert encoder(torch.rand(2, 3, 48, 40)).shape == (2, encoder.num_features)


def test_a_transformer_says_which_size_it_takes(transformer):
    with pytest.raises(UserError, match=r"of 32x32 pixels, and these have 40x48: resize them"):
        transformer(torch.rand(2, 3, 48, 40))
    with pytest.raises(UserError, match=r"of 32x32 pixels, and these have 40x48"):
        transformer.forward_features(torch.rand(2, 3, 48, 40))


def test_images_of_another_precision_are_refused_and_autocast_is_not(encoder, images, features):
    with pytest.raises(
        UserError, match=r"computes in torch\.float32, .* images\.to\(torch\.float32"
    ):
        encoder(images.double())
    torch.testing.assert_close(encoder(images.double().float()), features)
    with torch.autocast("cpu", torch.bfloat16):
        assert encoder(images.bfloat16()).dtype == torch.bfloat16


def test_features_before_pooling_and_maps_by_stage(encoder, images):
    projector = encoder.projector.hidden
    before = encoder.forward_features(images)
    torch.testing.assert_close(projector(before.mean(dim=(2, 3))), encoder(images))
    maps = encoder.feature_maps(images)
    assert [tuple(m.shape[1:]) for m in maps] == [
        *((16, 16, 16), (16, 16, 16), (32, 8, 8), (64, 4, 4), (128, 2, 2))
    ]
    torch.testing.assert_close(maps[-1], before)


def test_feature_maps_are_of_normalised_images(transformer):
    images = torch.rand(2, 3, 32, 32)
    mean, std = (torch.tensor(transformer.config["data"][key]) for key in ("mean", "std"))
    normalised = (images - mean.view(3, 1, 1)) / std.view(3, 1, 1)
    tokens = transformer.forward_features(images)
    torch.testing.assert_close(tokens, transformer.backbone.forward_features(normalised))
    assert [tuple(m.shape) for m in transformer.feature_maps(images)] == [(2, 16, 4, 4)] * 2


def test_a_network_without_maps_says_so(encoder):
    other = copy.deepcopy(encoder)
    other.backbone = nn.Flatten()
    with pytest.raises(UserError, match="has no forward_features, which networks of timm have"):
        other.forward_features(torch.rand(1, 3, 16, 16))


class OneImage:
    """An image as the data rooms know it."""

    def __init__(self, image):
        self.image = image

    def open(self, index):
        return self.image


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P"])
@pytest.mark.parametrize("size", [(16, 16), (61, 40), (9, 33)])
def test_preprocess_does_what_evaluations_do(encoder, mode, size):
    noise = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    image = Image.fromarray(noise).convert(mode)
    expected = torch.tensor(decode(OneImage(image), 0, 16)).permute(2, 0, 1)
    preprocess = pickle.loads(pickle.dumps(encoder.preprocess))
    torch.testing.assert_close(preprocess(image) * 255, expected.float(), rtol=0, atol=1e-4)


@pytest.mark.parametrize("given", [np.zeros((8, 8, 3), np.uint8), torch.zeros(3, 8, 8), "a.png"])
def test_preprocess_refuses_what_is_no_image(encoder, given):
    with pytest.raises(UserError, match=r"takes a PIL image, not (ndarray|Tensor|str)"):
        encoder.preprocess(given)


def test_preprocess_refuses_pixels_of_unknown_range(encoder):
    with pytest.raises(UserError, match="range of its pixels"):
        encoder.preprocess(Image.fromarray(np.zeros((8, 8), np.float32)))
