"""The distributions that backends draw from, measured in the pixels of 20,000 crops each."""

import colorsys
from importlib.util import find_spec

import pytest
import torch
from scipy.stats import binomtest, chisquare, ks_2samp, kstest
from torchvision.transforms import RandomResizedCrop
from torchvision.transforms.functional import adjust_hue, pil_to_tensor, to_pil_image

from solo_adv.crops import CropSpec, build

VIEWS, IMAGES = 20, 1000
COUNT = VIEWS * IMAGES
# The seeds are fixed, so a test always passes or always fails. The bound is such that most seeds
# pass if the distribution is right.
UNLIKELY = 1e-3
PLAIN = {
    "size": 8,
    "scale": (1, 1),
    "ratio": (1, 1),
    "flip_prob": 0,
    "jitter_prob": 0,
    "brightness": 0,
    "contrast": 0,
    "saturation": 0,
    "hue": 0,
    "grayscale_prob": 0,
    "blur_prob": 0,
    "solarize_prob": 0,
}
NO_DALI = pytest.mark.skipif(
    find_spec("nvidia") is None or find_spec("nvidia.dali") is None,
    reason="DALI is not installed: pip install 'solo-adv[dali]'",
)
pytestmark = pytest.mark.parametrize(
    "backend",
    [
        "torch",
        pytest.param("dali", marks=NO_DALI),
        pytest.param("torchvision", marks=[pytest.mark.slow]),
    ],
)


def levels(backend, image, **changes):
    """Draw 20 crops of each of 1,000 copies of an 8-bit image (3, H, W)."""
    spec = CropSpec(**PLAIN | {"num_crops": VIEWS} | changes)
    twins = image.to(torch.uint8).expand(IMAGES, -1, -1, -1)
    return build(spec, backend, seed=1)(twins) * 255


def unrounded(values):
    """Add uniform noise of one 8-bit level, so that rounded values become continuous again."""
    noise = torch.rand(values.shape, generator=torch.Generator().manual_seed(0))
    return values + noise - 0.5


def before_truncation(whole):
    """Add uniform noise in [0, 1), so that truncated values become continuous again."""
    noise = torch.rand(whole.shape, generator=torch.Generator().manual_seed(0))
    outwards = torch.where(whole == 0, 2 * noise - 1, whole.sign() * noise)
    return whole + outwards


def even(*rgb):
    return torch.tensor(rgb)[:, None, None].expand(3, 8, 8)


def intervals(line):
    """Compute start and length of the intervals that were resized to these lines (N, 8) of pixels.

    Each pixel of the source must have its own position as its value.
    """
    # The resized line is straight except at its ends, where the filter is cut off.
    inner = line[:, 2:-2].double()
    place = torch.arange(2.5, 6, dtype=torch.float64)
    slope = ((inner - inner.mean(1, keepdim=True)) * (place - place.mean())).sum(1)
    slope /= (place - place.mean()).square().sum()
    middle = inner.mean(1) + 0.5
    return middle - 4 * slope, 8 * slope


def test_boxes_are_distributed_as_torchvisions(backend):
    side = 200
    ramp = torch.arange(side).expand(side, side)
    image = torch.stack([ramp, ramp.T, torch.zeros(side, side, dtype=torch.long)])
    scale, ratio = (0.08, 1.0), (3 / 4, 4 / 3)
    crops = levels(backend, image, scale=scale, ratio=ratio)
    left, width = intervals(crops[:, 0, 4])
    top, height = intervals(crops[:, 1, :, 4])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        empty = torch.empty(3, side, side)
        boxes = [
            RandomResizedCrop.get_params(empty, list(scale), list(ratio)) for _ in range(COUNT)
        ]
    law_top, law_left, law_height, law_width = torch.tensor(boxes).double().unbind(1)
    # Measured positions are not whole numbers, so noise of a pixel's width makes both continuous.
    pairs = {
        "area": (height * width, law_height * law_width),
        "ratio": (width / height, law_width / law_height),
        "top": (unrounded(top), unrounded(law_top)),
        "left": (unrounded(left), unrounded(law_left)),
        "right": (unrounded(left + width), unrounded(law_left + law_width)),
        "bottom": (unrounded(top + height), unrounded(law_top + law_height)),
    }
    for name, (drawn, expected) in pairs.items():
        assert ks_2samp(drawn, expected).pvalue > UNLIKELY, name


def test_position_covers_every_place_evenly(backend):
    ramp = 10 * torch.arange(16).expand(16, 16)
    image = torch.stack([ramp, ramp.T, torch.zeros(16, 16, dtype=torch.long)])
    crops = levels(backend, image, scale=(0.25, 0.25))
    for start in (crops[:, 0, 0, 0], crops[:, 1, 0, 0]):
        counts = torch.bincount((start / 10).round().long())
        assert len(counts) == 9
        assert chisquare(counts).pvalue > UNLIKELY


@pytest.mark.parametrize(
    ("name", "image", "read"),
    [
        ("brightness", even(100, 100, 100), lambda crops: crops[:, 0, 0, 0] / 100),
        (
            "contrast",
            torch.tensor([50, 150]).repeat_interleave(4).expand(3, 8, 8),
            lambda crops: (crops[:, 0, 0, 7] - 100) / 50,
        ),
        ("saturation", even(160, 100, 100), lambda crops: (crops[:, 0, 0, 0] - 117.94) / 42.06),
    ],
)
def test_strength_is_uniform_in_its_range(backend, name, image, read):
    crops = levels(backend, image, jitter_prob=1, **{name: 0.4})
    # PIL's blend truncates to whole levels.
    exact = before_truncation(crops.round()) if backend == "torchvision" else unrounded(crops)
    assert kstest(read(exact), "uniform", (0.6, 0.8)).pvalue > UNLIKELY


def test_hue_is_turned_evenly(backend):
    image = even(200, 80, 80)
    turned = hues(levels(backend, image, jitter_prob=1, hue=0.2))
    if backend == "torchvision":  # its hue has 8 bits, so the expected hues are rounded as well
        picture = to_pil_image(image.to(torch.uint8))
        turns = torch.linspace(-0.2, 0.2, COUNT).tolist()
        law = hues(torch.stack([pil_to_tensor(adjust_hue(picture, turn)) for turn in turns]))
        assert ks_2samp(unrounded(turned * 255), unrounded(law * 255)).pvalue > UNLIKELY
    else:
        assert kstest(turned, "uniform", (-0.2, 0.4)).pvalue > UNLIKELY


def hues(crops):
    """The hue of the first pixel, in turns from -0.5 to 0.5."""
    found = [colorsys.rgb_to_hsv(*rgb)[0] for rgb in crops[:, :, 0, 0].tolist()]
    return (torch.tensor(found) + 0.5) % 1 - 0.5


STRIPES = torch.stack([torch.arange(8) % 2 * 60 + 30, torch.arange(8) * 9, 80 - torch.arange(8)])


@pytest.mark.parametrize("probability", [0.1, 0.8])
@pytest.mark.parametrize(
    ("key", "changes", "hit"),
    [
        ("flip_prob", {}, lambda crop, image: crop.flip(-1) - image),
        ("grayscale_prob", {}, lambda crop, image: crop[:, 1:] - crop[:, :1]),
        ("jitter_prob", {"brightness": 0.4, "contrast": 0.4, "hue": 0.2}, None),
        ("blur_prob", {"blur_sigma": (1.0, 2.0)}, None),
        ("solarize_prob", {}, None),
    ],
)
def test_operation_hits_its_share_of_the_crops(backend, key, changes, hit, probability):
    image = STRIPES[:, None, :].repeat(1, 8, 1)
    image[:, 4:] += 120  # bright enough to be solarised
    crops = levels(backend, image, **{key: probability}, **changes)
    if hit is None:
        hits = (crops - image).abs().amax((1, 2, 3)) > 0.5
    else:
        hits = hit(crops, image).abs().amax((1, 2, 3)) < 0.5
    assert binomtest(int(hits.sum()), COUNT, probability).pvalue > UNLIKELY


def test_crops_of_equal_images_and_of_one_image_are_independent(backend):
    crops = levels(backend, even(100, 100, 100), jitter_prob=1, brightness=0.4)
    drawn = unrounded(crops[:, 0, 0, 0]).double().view(VIEWS, IMAGES)
    pairs = {
        "of two images": torch.stack([drawn[:, ::2].flatten(), drawn[:, 1::2].flatten()]),
        "of two views": torch.stack([drawn[::2].flatten(), drawn[1::2].flatten()]),
    }
    for name, pair in pairs.items():
        assert torch.corrcoef(pair)[0, 1].abs() < 4 / (COUNT / 2) ** 0.5, name
