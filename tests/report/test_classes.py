"""Counts by class are those of a matrix, and survive JSON."""

import json
import random
from dataclasses import asdict, replace

import pytest

from solo_adv.report import classes as module
from solo_adv.report.classes import Classes
from solo_adv.report.measurement import Measurement
from solo_adv.report.record import Report
from tests.report.reports import make_report, measurement

LABELS = [0, 0, 0, 1, 1, 3, 3, 3]
SEEN = [0, 1, 1, 1, -1, 3, 0, 3]


def counted(**more):
    right = [label == seen for label, seen in zip(LABELS, SEEN, strict=True)]
    return Classes.counted(LABELS, right, SEEN, num_classes=4, **more)


def test_counts():
    found = counted()
    assert found.total == (3, 2, 0, 3)
    assert found.correct == (1, 1, 0, 2)
    assert found.mistakes == {"0 as 1": 2, "1 as none": 1, "3 as 0": 1}
    assert found.accuracies == [1 / 3, 0.5, None, 2 / 3]
    assert sorted(found.confused(), key=str) == [(0, 1, 2), (1, None, 1), (3, 0, 1)]
    assert found.complete


def test_the_commonest_mistakes_are_kept(monkeypatch):
    monkeypatch.setattr(module, "MOST_MISTAKES", 1)
    found = counted()
    assert found.mistakes == {"0 as 1": 2}
    assert not found.complete


def test_mistakes_may_be_unknown():
    found = Classes.counted([0, 1, 1], [True, False, True], num_classes=2)
    assert (found.correct, found.mistakes, found.complete) == ((1, 1), {}, False)


def test_ten_classes_are_complete_whatever_is_seen():
    drawn = random.Random(0)
    labels = [drawn.randrange(10) for _ in range(5000)]
    seen = [drawn.randrange(-1, 10) for _ in labels]
    right = [label == other for label, other in zip(labels, seen, strict=True)]
    assert Classes.counted(labels, right, seen, num_classes=10).complete


def test_it_survives_json(tmp_path):
    with_classes = measurement("clean", 0.5)
    with_classes = replace(with_classes, classes=counted())
    held = json.loads(json.dumps(with_classes.to_dict()))
    assert Measurement.from_dict(held) == with_classes
    assert with_classes.figure.classes is None
    assert "classes" not in measurement("clean", 0.5).to_dict()
    assert Measurement.from_dict(asdict(measurement("clean", 0.5))).classes is None
    report = make_report(pretrain_config={}, measurements=[with_classes])
    (tmp_path / "report.json").write_text(json.dumps(report.to_dict()))
    assert Report.read(tmp_path / "report.json") == report


def test_counts_of_another_length_are_refused():
    with pytest.raises(ValueError, match=r"shorter|longer"):
        Classes.counted([0, 1], [True], num_classes=2)
