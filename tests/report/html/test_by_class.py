"""A page shows each class, the worst first, and what is seen as what."""

from dataclasses import replace

import pytest

from solo_adv.report.classes import Classes
from solo_adv.report.html import by_class
from solo_adv.report.html.by_class import class_table, confusions
from solo_adv.report.html.page import page
from tests.report.html.parsed import Page
from tests.report.reports import make_report, measurement

NAMES = ["cat", "dog", "<b>car</b>"]
CLEAN = Classes(total=(10, 10, 20), correct=(9, 8, 20), mistakes={"0 as 1": 1, "1 as none": 2})
PGD = Classes(
    total=(10, 10, 20), correct=(4, 1, 11), mistakes={"0 as 1": 6, "1 as 0": 9, "2 as 0": 9}
)
AUTOATTACK = Classes(total=(10, 10, 20), correct=(3, 1, 1))


@pytest.fixture
def report():
    figures = [
        ("clean", 0.7, None, CLEAN),
        ("PGD-20", 0.4, 8, PGD),
        ("AutoAttack", 0.1, 8, AUTOATTACK),
    ]
    report = make_report(
        measurements=[
            measurement("kNN", 0.6),
            *(replace(measurement(*figure), classes=classes) for *figure, classes in figures),
        ]
    )
    report.data |= {"classes": 3, "class_names": NAMES}
    return report


def test_the_worst_class_under_the_strongest_attack_is_first(report):
    table = class_table(report)
    assert table.labels == ["clean", "PGD-20 at 8/255", "AutoAttack at 8/255"]
    assert table.by == "AutoAttack at 8/255"
    assert table.rows == [
        ("<b>car</b>", 20, [1.0, 0.55, 0.05]),
        ("dog", 10, [0.8, 0.1, 0.1]),
        ("cat", 10, [0.9, 0.4, 0.3]),
    ]


def test_the_strongest_attack_that_tells_shows_what_is_seen(report):
    clean, attacked = confusions(report)
    assert (clean.label, attacked.label) == ("clean", "PGD-20 at 8/255")
    assert clean.columns == [*NAMES, "none"]
    assert dict(clean.matrix)["dog"] == [0, 0.8, 0, 0.2]
    assert attacked.columns == NAMES
    assert attacked.matrix == [
        ("cat", [0.4, 0.6, 0]),
        ("dog", [0.9, 0.1, 0]),
        ("<b>car</b>", [0.45, 0, 0.55]),
    ]


def test_both_are_on_the_page(report):
    shown = Page(page(report))
    assert ["<b>car</b>", "20", "100.0", "55.0", "5.0"] in shown.rows
    assert ["dog", "90", "10", ""] in shown.rows
    assert shown.all("b") == []


def test_of_many_classes_the_worst_and_the_commonest_mistakes_are_shown(report, monkeypatch):
    monkeypatch.setattr(by_class, "MOST_ROWS", 2)
    monkeypatch.setattr(by_class, "MOST_COLUMNS", 2)
    shown = Page(page(report))
    assert "And 1 more in report.json." in shown.text
    assert ["dog", "cat", "9", "90.0"] in shown.rows
    assert ["cat", "dog", "1", "10.0"] in shown.rows
    assert not any(row[:1] == ["cat"] and len(row) == 5 for row in shown.rows)


def test_classes_without_names_have_numbers(report):
    del report.data["class_names"]
    assert class_table(report).rows[0][0] == "class 2"


def test_without_counts_there_is_no_table():
    assert class_table(make_report()) is None
    assert confusions(make_report()) == []
    assert "Classes" not in Page(page(make_report())).text
