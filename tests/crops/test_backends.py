"""The promises that every crop backend must keep."""

from importlib.util import find_spec

import pytest
import torch

from solo_adv.crops import BACKENDS, CropSpec, build
from solo_adv.support.errors import UserError

NO_DALI = pytest.mark.skipif(
    find_spec("nvidia") is None or find_spec("nvidia.dali") is None,
    reason="DALI is not installed: pip install 'solo-adv[dali]'",
)
pytestmark = pytest.mark.parametrize(
    "backend",
    [pytest.param(name, marks=NO_DALI if name == "dali" else ()) for name in BACKENDS],
)

UNCHANGED = {
    "scale": (1.0, 1.0),
    "ratio": (1.0, 1.0),
    "flip_prob": 0,
    "jitter_prob": 0,
    "grayscale_prob": 0,
    "blur_prob": 0,
    "solarize_prob": 0,
}


def test_crops_are_float32_in_range_and_of_the_asked_shape(backend, make_images):
    crops = build(CropSpec(num_crops=5, size=24), backend)(make_images())
    assert crops.shape == (20, 3, 24, 24)
    assert crops.dtype == torch.float32
    assert crops.is_contiguous()
    assert crops.min() >= 0
    assert crops.max() <= 1


def test_spec_that_changes_nothing_returns_the_image(backend, make_images):
    images = make_images(height=32, width=32)
    crops = build(CropSpec(num_crops=3, **UNCHANGED), backend)(images)
    torch.testing.assert_close(crops, (images / 255).repeat(3, 1, 1, 1), atol=1e-6, rtol=0)


def test_crops_are_view_major(backend):
    colours = torch.tensor([[0, 60, 120], [200, 10, 90], [30, 250, 170]], dtype=torch.uint8)
    images = colours[:, :, None, None].expand(3, 3, 40, 60)
    spec = CropSpec(num_crops=4, jitter_prob=0, grayscale_prob=0, solarize_prob=0)
    crops = build(spec, backend)(images).view(4, 3, 3, 32, 32)
    expected = (colours / 255)[None, :, :, None, None].expand_as(crops)
    torch.testing.assert_close(crops, expected, atol=1e-5, rtol=0)


def test_crops_of_an_image_differ_and_show_that_image_only(backend, make_images):
    twins = make_images(count=1).expand(5, -1, -1, -1)
    crops = build(CropSpec(num_crops=6), backend)(twins)
    distance = torch.cdist(crops.flatten(1), crops.flatten(1)).fill_diagonal_(torch.inf)
    assert distance.min() > 0.1


def test_same_seed_same_crops(backend, make_images):
    spec = CropSpec(num_crops=2)
    first, again, other = (build(spec, backend, seed)(make_images()) for seed in (5, 5, 6))
    assert first.equal(again)
    assert not first.equal(other)


def test_next_call_draws_other_crops(backend, make_images):
    crops = build(CropSpec(num_crops=2), backend)
    assert not crops(make_images()).equal(crops(make_images()))


def test_saved_state_continues_as_if_never_stopped(backend, make_images):
    images, spec = make_images(), CropSpec(num_crops=2)
    crops = build(spec, backend)
    crops(images)
    state = crops.state_dict()
    expected = [crops(images), crops(images)]
    resumed = build(spec, backend, seed=99)
    resumed.load_state_dict(state)
    assert resumed(images).equal(expected[0])
    assert resumed(images).equal(expected[1])


def test_global_random_state_is_neither_used_nor_moved(backend, make_images):
    spec = CropSpec(num_crops=2)
    first = build(spec, backend)(make_images())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(123)
        before = torch.get_rng_state()
        assert build(spec, backend)(make_images()).equal(first)
        assert torch.get_rng_state().equal(before)


def test_float_and_uint8_images_agree(backend, make_images):
    spec = CropSpec(num_crops=2)
    whole, unit = (build(spec, backend)(images) for images in (make_images(), make_images() / 255))
    torch.testing.assert_close(whole, unit, atol=1e-6, rtol=0)


def test_memory_format_is_the_chosen_one(backend, make_images):
    spec = CropSpec(num_crops=2)
    plain = build(spec, backend)(make_images())
    last = build(spec, backend, memory_format=torch.channels_last)(make_images())
    assert last.is_contiguous(memory_format=torch.channels_last)
    assert last.equal(plain)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.zeros(3, 32, 32), r"shape \(N, 3, H, W\)"),
        (torch.zeros(2, 1, 32, 32), r"shape \(N, 3, H, W\)"),
        (torch.zeros(0, 3, 32, 32), r"shape \(N, 3, H, W\)"),
        (torch.zeros(2, 3, 32, 32, dtype=torch.int64), "uint8 or float images; got torch.int64"),
        (torch.full((2, 3, 32, 32), 255.0), "Divide by 255"),
        (torch.full((2, 3, 32, 32), -0.5), "Undo the normalisation"),
        (torch.full((2, 3, 32, 32), torch.nan), "not finite"),
    ],
)
def test_bad_images_are_refused(backend, images, message):
    with pytest.raises(UserError, match=message):
        build(CropSpec(num_crops=2), backend)(images)


def test_random_numbers_continue_if_the_spec_changes(backend):
    images = torch.randint(0, 256, (3, 3, 20, 20), dtype=torch.uint8)
    wide = CropSpec(num_crops=2, size=8)
    narrow = CropSpec(num_crops=2, size=8, scale=(0.9, 1.0), jitter_prob=0.0)
    pipeline, other = build(wide, backend, seed=4), build(narrow, backend, seed=4)
    pipeline(images)
    pipeline.respec(narrow)
    assert pipeline.spec == narrow
    other.load_state_dict(pipeline.state_dict())
    assert torch.equal(pipeline(images), other(images))
    with pytest.raises(UserError, match=r"crops\.num_crops cannot change"):
        pipeline.respec(CropSpec(num_crops=3, size=8))


def test_weak_crops_are_the_image_shifted_over_a_border(backend, make_images):
    """torchvision's ``RandomCrop(16, padding=2)`` and a flip."""
    spec = CropSpec.preset("weak", num_crops=12, size=16)
    images = make_images(count=2, height=16, width=16)
    padded = torch.nn.functional.pad(images, (2, 2, 2, 2)) / 255
    shifts = set()
    for crop, image in zip(build(spec, backend)(images), padded.repeat(12, 1, 1, 1), strict=True):
        found = [
            (top, left, flip)
            for top in range(5)
            for left in range(5)
            for flip in (False, True)
            if torch.allclose(
                crop.flip(2) if flip else crop,
                image[:, top : top + 16, left : left + 16],
                atol=1e-5,
            )
        ]
        assert len(found) == 1
        shifts |= set(found)
    assert len(shifts) > 8
