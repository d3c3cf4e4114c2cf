"""A measurement has an accuracy, an error and a label, and refuses impossible counts."""

import json
from dataclasses import asdict
from math import sqrt

import pytest

from solo_adv.report.measurement import Measurement, by_attack, by_label, under_attack
from tests.report.reports import measurement


def test_accuracy_and_error_are_those_of_the_counts():
    found = Measurement(name="clean", correct=30, total=120)
    assert found.accuracy == 0.25
    assert found.standard_error == pytest.approx(sqrt(0.25 * 0.75 / 120))
    assert (found.ball, found.epsilon, found.radius, found.label) == (None, 0, "", "clean")


def test_the_error_is_that_of_the_different_images():
    found = Measurement(name="corruptions", correct=300, total=1200, settings={"times": 10})
    assert (found.accuracy, found.images) == (0.25, 120)
    assert found.standard_error == pytest.approx(sqrt(0.25 * 0.75 / 120))


def test_the_radius_is_part_of_the_label():
    found = measurement("PGD-20", 0.5, 8)
    assert (found.epsilon, found.radius, found.label) == (8 / 255, "8/255", "PGD-20 at 8/255")


def test_the_variant_is_part_of_the_label():
    settings = {"variant": "15, generated"}
    found = Measurement(name="corruptions", correct=1, total=2, settings=settings)
    assert found.label == "corruptions (15, generated)"


def test_it_survives_json():
    found = measurement("AutoAttack", 0.5, 8, notes=("a", "b"), details={"fab": 3}, seconds=1.5)
    assert Measurement.from_dict(json.loads(json.dumps(asdict(found)))) == found
    assert found.figure == measurement("AutoAttack", 0.5, 8)


@pytest.mark.parametrize(("correct", "total"), [(-1, 10), (11, 10), (0, 0)])
def test_no_accuracy_is_refused(correct, total):
    with pytest.raises(ValueError, match=f"clean: {correct} of {total} images is no accuracy"):
        Measurement(name="clean", correct=correct, total=total)


def test_finding_and_grouping():
    found = [
        measurement("clean", 0.9),
        measurement("PGD-20", 0.3, 16),
        measurement("PGD-20", 0.6, 4),
        measurement("AutoAttack", 0.2, 16),
        Measurement(
            name="PGD-20", correct=5, total=10, settings={"norm": "l2", "epsilon": 16 / 255}
        ),
    ]
    assert list(by_label(found)) == [
        *("clean", "PGD-20 at 16/255", "PGD-20 at 4/255", "AutoAttack at 16/255"),
        "PGD-20 at 0.0627451 (L2)",
    ]
    assert under_attack(found) == found[1:]
    assert by_attack(found) == {
        ("PGD-20", "linf"): [found[2], found[1]],
        ("AutoAttack", "linf"): [found[3]],
        ("PGD-20", "l2"): [found[4]],
    }


def test_an_attack_without_a_norm_is_of_the_first_one():
    attacked = {"name": "PGD-20", "correct": 5, "total": 10, "settings": {"epsilon": 8 / 255}}
    assert Measurement.from_dict(attacked).label == "PGD-20 at 8/255"
