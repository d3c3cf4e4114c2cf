"""The verdict names the strongest attack at the usual radius."""

import pytest

from solo_adv.report.verdict import strongest, verdict
from tests.report.reports import make_report, measurement

CLEAN = measurement("clean", 0.7)


@pytest.mark.parametrize(
    ("attacks", "label"),
    [
        ([("PGD-20", 0.2, 8), ("AutoAttack", 0.1, 8)], "AutoAttack at 8/255"),
        ([("PGD-20", 0.1, 8), ("AutoAttack", 0.1, 8)], "AutoAttack at 8/255"),
        ([("PGD-20", 0.1, 8), ("AutoAttack", 0.2, 8)], "PGD-20 at 8/255"),
        ([("PGD-20", 0.4, 4), ("PGD-20", 0.2, 8), ("PGD-20", 0.0, 16)], "PGD-20 at 8/255"),
        ([("PGD-20", 0.4, 2), ("PGD-20", 0.2, 6), ("AutoAttack", 0.0, 16)], "PGD-20 at 6/255"),
    ],
)
def test_the_strongest_attack_at_the_nearest_radius_counts(attacks, label):
    report = make_report(measurements=[CLEAN, *(measurement(*attack) for attack in attacks)])
    assert strongest(report).label == label


def test_the_sentence_says_what_was_allowed():
    with_autoattack = [CLEAN, measurement("AutoAttack", 0.123, 8)]
    assert verdict(make_report(measurements=with_autoattack)).sentence == (
        "Of 100 test images, 70 are classified correctly, and 12.3 if AutoAttack may change every "
        "pixel of the image by at most 8/255."
    )
    assert "AutoAttack did not judge them" in verdict(make_report()).sentence


def test_without_an_attack_there_is_only_clean_accuracy():
    alone = verdict(make_report(measurements=[CLEAN]))
    assert (alone.clean, alone.robust) == (CLEAN, None)
    assert alone.sentence.endswith("Nothing attacked them.")


def test_crops_that_are_attacked_are_named():
    report = make_report()
    report.config |= {"protocol": "crops", "space": "crop"}
    assert "every pixel of each of their crops" in verdict(report).sentence
