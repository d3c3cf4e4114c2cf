"""The augmentation weakens over the run as ``crops.anneal`` says."""

import pytest

from solo_adv import UserError
from solo_adv.crops import CropSpec, read_crops
from solo_adv.crops.annealing import AMOUNTS, FADING, Annealing

SPEC = CropSpec.preset("multi_crop")


def test_without_annealing_the_crops_stay():
    for progress in (0.0, 0.5, 1.0):
        assert Annealing().at(SPEC, progress) is SPEC


@pytest.mark.parametrize(
    ("progress", "strength"), [(0.0, 1.0), (0.2, 0.75), (0.4, 0.5), (0.8, 0.0), (1.0, 0.0)]
)
def test_the_strength_falls_in_proportion(progress, strength):
    anneal = Annealing(over=0.8, scale=0.86)
    assert anneal.strength(progress) == pytest.approx(strength)
    spec = anneal.at(SPEC, progress)
    assert spec.scale == pytest.approx((0.86 - strength * (0.86 - 0.08), 1.0))
    for name in FADING:
        assert getattr(spec, name) == pytest.approx(strength * getattr(SPEC, name))
    assert spec.flip_prob == SPEC.flip_prob
    for name in AMOUNTS:
        assert getattr(spec, name) == getattr(SPEC, name)
        less = Annealing(over=0.8, amounts=True).at(SPEC, progress)
        assert getattr(less, name) == pytest.approx(strength * getattr(SPEC, name))


def test_stages_are_those_of_dynacl():
    """Strength 1 - (epoch - 1) / epochs, read anew every 50 of 1000 epochs."""
    anneal = Annealing(over=1.0, stages=20)
    for epoch in range(1000):
        assert anneal.strength(epoch / 1000) == pytest.approx(1 - epoch // 50 * 50 / 1000)
    assert anneal.strength(1.0) == pytest.approx(0.05)


def test_boxes_never_pass_the_largest():
    patches = CropSpec.preset("fixed_patch")
    assert Annealing(over=1.0).at(patches, 0.5).scale == (0.25, 0.25)


def test_annealing_is_read_with_the_other_options():
    _, options = read_crops({"anneal": {"over": 0.5}})
    assert options.anneal == Annealing(over=0.5)
    assert read_crops({"anneal": None})[1].anneal == Annealing()


@pytest.mark.parametrize(
    ("anneal", "message"),
    [
        ({"over": 1.5}, "crops.anneal.over must be a number of at least 0 and at most 1"),
        ({"scale": 0}, "crops.anneal.scale must be a number above 0"),
        ({"stages": 0.5}, "crops.anneal.stages must be a whole number"),
        ({"amounts": "no"}, "crops.anneal.amounts must be true or false"),
        ({"until": 1}, "key in crops.anneal"),
        ({"over": 1.0, "scale": 0.01}, "must not be below crops.scale"),
        (0.8, "crops.anneal must be a group of settings"),
    ],
)
def test_wrong_values_are_refused(anneal, message):
    with pytest.raises(UserError, match=message):
        read_crops({"anneal": anneal})
