from dataclasses import fields
from itertools import permutations

import pytest
import torch
from scipy.stats import binomtest, chisquare, ks_2samp, kstest
from torchvision.transforms import RandomResizedCrop

from solo_adv.crops import CropParameters, CropSpec
from solo_adv.crops.parameters import draw

# The seeds are fixed, so a test always passes or always fails. The bound is such that most seeds
# pass if the distribution is right.
UNLIKELY = 1e-3


def parameters_of(spec, count=20_000, height=40, width=60, seed=0):
    assert spec.num_crops == 1
    return draw(spec, count, height, width, torch.Generator().manual_seed(seed))


def torchvision_boxes(spec, count, height, width):
    image = torch.empty(3, height, width)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        boxes = [RandomResizedCrop.get_params(image, spec.scale, spec.ratio) for _ in range(count)]
    return torch.tensor(boxes).unbind(1)


@pytest.mark.parametrize(
    ("height", "width", "scale", "ratio"),
    [
        (32, 32, (0.08, 1.0), (3 / 4, 4 / 3)),
        (40, 60, (0.08, 1.0), (3 / 4, 4 / 3)),
        (60, 40, (0.45, 1.0), (1.2, 2.0)),  # often no attempt fits, so the box is central
    ],
)
def test_boxes_are_distributed_as_torchvisions(height, width, scale, ratio):
    spec = CropSpec(num_crops=1, scale=scale, ratio=ratio)
    ours = parameters_of(spec, 20_000, height, width)
    top, left, box_height, box_width = torchvision_boxes(spec, 20_000, height, width)
    pairs = {
        "area": (ours.height * ours.width, box_height * box_width),
        "ratio": (ours.width / ours.height, box_width / box_height),
        "top": (ours.top, top),
        "left": (ours.left, left),
        "bottom": (ours.top + ours.height, top + box_height),
        "right": (ours.left + ours.width, left + box_width),
    }
    for name, (drawn, expected) in pairs.items():
        assert ks_2samp(drawn, expected).pvalue > UNLIKELY, name
    assert ((ours.top >= 0) & (ours.top + ours.height <= height)).all()
    assert ((ours.left >= 0) & (ours.left + ours.width <= width)).all()


def test_position_covers_every_place_evenly():
    spec = CropSpec(num_crops=1, scale=(0.25, 0.25), ratio=(1, 1))
    parameters = parameters_of(spec, 20_000, 32, 32)
    assert parameters.height.unique().tolist() == [16]
    for position in (parameters.top, parameters.left):
        counts = torch.bincount(position)
        assert len(counts) == 17
        assert chisquare(counts).pvalue > UNLIKELY


@pytest.mark.parametrize(
    ("height", "width", "scale", "ratio"),
    [
        (40, 40, (0.9, 1.0), (2.0, 3.0)),  # too narrow for the accepted ratios
        (40, 40, (0.9, 1.0), (1 / 3, 1 / 2)),  # too wide
        (40, 60, (1.0, 1.0), (1.0, 1.0)),
        (41, 61, (1.0, 1.0), (1.3, 1.3)),
        (40, 60, (1.0, 1.0), (1.5, 1.5)),  # the whole image
    ],
)
def test_central_box_when_none_fits_is_that_of_torchvision(height, width, scale, ratio):
    spec = CropSpec(num_crops=1, scale=scale, ratio=ratio)
    ours = parameters_of(spec, 3, height, width)
    drawn = torch.stack([ours.top, ours.left, ours.height, ours.width])
    assert drawn.equal(torch.stack(torchvision_boxes(spec, 3, height, width)))


@pytest.mark.parametrize(
    ("key", "mask"),
    [
        ("flip_prob", lambda drawn: drawn.flip),
        ("jitter_prob", lambda drawn: drawn.brightness != 1),
        ("jitter_prob", lambda drawn: drawn.hue != 0),
        ("grayscale_prob", lambda drawn: drawn.grayscale),
        ("blur_prob", lambda drawn: drawn.blur_sigma > 0),
        ("solarize_prob", lambda drawn: drawn.solarize),
    ],
)
@pytest.mark.parametrize("probability", [0.0, 0.1, 0.8, 1.0])
def test_operation_hits_its_share_of_the_crops(key, mask, probability):
    hits = mask(parameters_of(CropSpec(num_crops=1, **{key: probability})))
    assert binomtest(int(hits.sum()), len(hits), probability).pvalue > UNLIKELY


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("brightness", 0.7, 1.3),
        ("contrast", 0.6, 1.4),
        ("saturation", 0.0, 2.5),
        ("hue", -0.2, 0.2),
        ("blur_sigma", 0.1, 2.0),
    ],
)
def test_strength_is_uniform_in_its_range(name, low, high):
    spec = CropSpec(num_crops=1, jitter_prob=1, blur_prob=1, brightness=0.3, saturation=1.5)
    drawn = getattr(parameters_of(spec), name)
    assert kstest(drawn, "uniform", (low, high - low)).pvalue > UNLIKELY


def test_jitter_hits_all_four_operations_or_none():
    drawn = parameters_of(CropSpec(num_crops=1, jitter_prob=0.5))
    hit = drawn.brightness != 1
    assert hit.equal(drawn.hue != 0)
    assert hit.equal(drawn.contrast != 1)
    assert hit.equal(drawn.saturation != 1)


def test_every_jitter_order_is_as_likely():
    orders = parameters_of(CropSpec(num_crops=1)).jitter_order.tolist()
    counts = [orders.count(list(order)) for order in permutations(range(4))]
    assert sum(counts) == len(orders)
    assert chisquare(counts).pvalue > UNLIKELY


def test_operations_are_drawn_independently():
    drawn = parameters_of(CropSpec(num_crops=1, jitter_prob=1, blur_prob=1))
    columns = [getattr(drawn, field.name) for field in fields(CropParameters)]
    columns = [column.double() for column in columns if column.ndim == 1]
    correlation = torch.corrcoef(torch.stack(columns)).fill_diagonal_(0)
    # A box's place depends on its size, and its height on its width.
    assert correlation[4:].abs().max() < 4 / 20_000**0.5


def test_same_seed_same_parameters():
    spec = CropSpec(num_crops=1)
    first, again, other = (parameters_of(spec, 50, seed=seed) for seed in (7, 7, 8))
    for field in fields(CropParameters):
        assert getattr(first, field.name).equal(getattr(again, field.name))
    assert not first.brightness.equal(other.brightness)
    assert not first.top.equal(other.top)


def test_there_is_one_entry_per_crop():
    drawn = draw(CropSpec(num_crops=3), 5, 32, 32, torch.Generator())
    assert len(drawn) == 15
    assert {len(getattr(drawn, field.name)) for field in fields(CropParameters)} == {15}
