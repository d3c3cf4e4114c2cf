"""The crops that DALI cuts, and the message if DALI is not installed."""

import sys
from importlib.util import find_spec

import pytest
import torch

from solo_adv.crops import CropSpec, build
from solo_adv.crops.torch import TorchCrops
from solo_adv.support.errors import UserError

needs_dali = pytest.mark.skipif(
    find_spec("nvidia") is None or find_spec("nvidia.dali") is None,
    reason="DALI is not installed: pip install 'solo-adv[dali]'",
)


@needs_dali
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize(("size", "height", "width"), [(32, 32, 32), (24, 40, 60), (48, 40, 60)])
def test_a_seed_gives_the_crops_of_the_torch_backend(
    interpolation, size, height, width, make_images
):
    images = make_images(6, height, width)
    spec = CropSpec(num_crops=20, size=size, interpolation=interpolation)
    ours, expected = (build(spec, backend, seed=4)(images) for backend in ("dali", "torch"))
    difference = (ours - expected).abs() * 255
    # At the edges DALI repeats the last pixel; PIL cuts its filter off and normalises it again.
    assert difference.mean() < 0.1
    assert (difference > 2).float().mean() < 0.005
    assert difference[..., 3:-3, 3:-3].mean() < 0.01


@needs_dali
def test_batch_size_may_change(make_images):
    spec = CropSpec(num_crops=2)
    crops, expected = build(spec, "dali", seed=1), TorchCrops(spec, seed=1)
    for count, height in ((2, 40), (5, 40), (3, 32)):
        images = make_images(count, height, 36)
        assert (crops(images) - expected(images)).abs().mean() < 0.1 / 255


@needs_dali
def test_float_images_are_rounded_to_8_bits():
    images = torch.full((1, 3, 32, 32), 99.6 / 255)
    spec = CropSpec(num_crops=2, jitter_prob=0, grayscale_prob=0, solarize_prob=0)
    crops = build(spec, "dali")(images)
    torch.testing.assert_close(crops, torch.full((2, 3, 32, 32), 100 / 255), atol=1e-5, rtol=0)


def test_missing_dali_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "nvidia.dali", None)
    with pytest.raises(UserError, match=r"pip install 'solo-adv\[dali\]'") as error:
        build(CropSpec(), "dali")
    assert "\n" not in str(error.value)
