"""A method's own presets: what they set, and that the user's own values are not overwritten."""

import pytest

from solo_adv import UserError
from solo_adv.reproduce.plan import composed
from solo_adv.training.config import parse_cfg

SMALL = ("data=digits", "preset=best")


def parsed(*overrides, method="cfamc"):
    return parse_cfg(composed(method, [*SMALL, *overrides]))


def test_best_is_annealed_crops_and_a_larger_step():
    cfg = parsed()
    assert cfg.adversary.step_size == "4/255"
    assert (cfg.crops.anneal.over, cfg.crops.anneal.scale) == (0.8, 0.86)
    assert (cfg.adversary.epsilon, cfg.adversary.replays) == ("8/255", 3)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("adversary.step_size=2/255", "sets adversary.step_size=4/255, but the config has 2/255"),
        ("crops.anneal.over=0.5", "crops.anneal.over=0.8, but the config has 0.5"),
        ("adversary.norm=l2", "adversary.norm=linf, but the config has l2"),
        ("preset=bset", "Unknown preset 'bset'"),
    ],
)
def test_what_contradicts_a_preset_is_refused(override, said):
    with pytest.raises(UserError, match=said):
        parsed(override)


def test_other_methods_do_not_have_it():
    with pytest.raises(UserError, match=r"Unknown preset 'best'. Accepted: reference"):
        parsed(method="robust_emp")
