"""A training run is described by what distinguishes it."""

import pytest

from solo_adv.report.words import training_words
from solo_adv.support.configs import composed
from solo_adv.training.config import parse_cfg


@pytest.mark.parametrize(
    ("method", "overrides", "words"),
    [
        ("cfamc", ["crops.num_crops=8"], "8 crops, m=3, 10 epochs"),
        ("robust_emp", ["crops=fixed_patch"], "16 patches, PGD-5, 30 epochs"),
    ],
)
def test_crops_and_adversary(method, overrides, words):
    assert training_words(parse_cfg(composed(method, overrides))) == words


def deacl_fast(**changes):
    """The settings of a run of ``deacl_fast`` that its description looks at."""
    return {
        "crops": {"num_crops": 1, "scale": [0.64, 0.64], "pad": 0.125},
        "adversary": {"noise": 2.0, "step": 1.0, "steps": 1, "stay_in_ball": False, **changes},
        "teacher": {"kind": "bank", "checkpoint": "emp_ssl_resnet18w16_cifar10"},
        "max_epochs": 23,
    }


def test_a_student_and_its_fast_adversary():
    assert training_words(deacl_fast()) == "1 crop, N-FGSM, bank, 23 epochs"
    two = training_words(deacl_fast(stay_in_ball=True, steps=2))
    assert two == "1 crop, RS-FGSM, 2 steps, bank, 23 epochs"
    network = deacl_fast() | {"teacher": {"kind": "network", "checkpoint": "e.ckpt"}}
    assert training_words(network) == "1 crop, N-FGSM, teacher, 23 epochs"
    assert (
        training_words(network | {"teacher": {"checkpoint": None}}) == "1 crop, N-FGSM, 23 epochs"
    )
