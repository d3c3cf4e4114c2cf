"""The paper's figures are recorded as printed, and every impossible one is marked."""

from collections import defaultdict
from itertools import pairwise

import pytest

from solo_adv.paper import MODELS, TABLES, figures, model_of

EPSILONS = {0: 0.0, 4: 4 / 255, 8: 8 / 255, 16: 16 / 255}


def value(**wanted):
    (figure,) = figures(**wanted)
    return figure.value


PRINTED = [
    # table, row, data set, 255 * epsilon, value
    ("table1", "robust_emp_patch", "cifar100", 4, 14.38),
    ("table1", "cfamc_m3", "cifar10", 0, 75.88),
    ("table1", "robust_simclr_patch", "cifar10", 8, 17.19),
    ("table4", "cfamc_m3", "cifar10", 0, 75.78),
    ("table4", "cfamc_m5", "imagenet100", 16, 1.2),
    ("table4", "cfamc_m5_10ep", "imagenet100", 0, 46.26),
    ("table4", "cfamc_m12", "cifar10", 16, 12.4),
    ("table4", "simclr_freeadv_m5", "cifar100", 8, 16.15),
    ("table4", "supervised_freeadv_m7", "cifar10", 8, 23.75),
    ("table5", "simclr_freeadv_m7_resnet50", "cifar10", 16, 12.76),
    ("table6", "robust_simclr_crop", "cifar100", 16, 5.29),
    ("table6", "robust_emp_crop", "cifar10", 8, 26.57),
]


@pytest.mark.parametrize(("table", "row", "dataset", "level", "printed"), PRINTED)
def test_a_figure_is_as_printed(table, row, dataset, level, printed):
    wanted = {"table": table, "row": row, "dataset": dataset, "epsilon": EPSILONS[level]}
    assert value(**wanted) == printed


def test_heads_and_crops_distinguish_rows():
    eight = {"row": "robust_emp_crop", "dataset": "cifar10", "epsilon": 8 / 255, "table": "table3"}
    assert value(**eight, head="standard") == 8.95
    assert value(**eight, head="robust") == 28.49
    emp = {"table": "table2", "row": "emp_ssl", "dataset": "cifar100", "epsilon": 4 / 255}
    assert [value(**emp, num_crops=crops) for crops in (None, 32, 64)] == [0.02, 0.46, 0.5]


def test_every_cell_is_there():
    accuracies = {
        name: sum(f.quantity != "minutes" for f in t.figures) for name, t in TABLES.items()
    }
    assert accuracies == {
        "table1": 7 * 6,
        "table2": 6 * 8,
        "table3": 4 * 8,
        "table4": 10 * 8 + 4 * 4,
        "table5": 4 * 8,
        "table6": 6 * 8,
    }
    assert {f.value for f in figures(quantity="minutes", table="table1")} == {530, 934, 97, 157}
    assert {f.row for t in TABLES.values() for f in t.figures} == set(MODELS)


def marked(kind):
    return {f for t in TABLES.values() for f in t.figures if f.mark and f.mark.kind == kind}


def accuracies():
    return [f for t in TABLES.values() for f in t.figures if f.quantity != "minutes"]


def test_autoattack_above_pgd_is_marked_wherever_it_is_and_nowhere_else():
    above = set()
    for figure in figures(quantity="AutoAttack"):
        place = {"row": figure.row, "dataset": figure.dataset, "epsilon": figure.epsilon}
        if figure.value > value(table="table4", quantity="PGD-20", **place):
            above.add(figure)
    assert marked("above_pgd") == above
    assert len(above) == 12


def test_copied_autoattack_rows_are_marked():
    same = set()
    for figure in figures(quantity="AutoAttack"):
        place = {"row": figure.row, "dataset": figure.dataset, "epsilon": figure.epsilon}
        if figure.value == value(table="table4", quantity="PGD-20", **place):
            same.add(figure)
    assert marked("copied") == same
    assert len(same) == 3


def test_figures_that_rise_with_epsilon_are_marked():
    curves = defaultdict(list)
    for f in accuracies():
        curves[f.table, f.row, f.dataset, f.head, f.num_crops].append(f)
    rising = {
        larger
        for curve in curves.values()
        for smaller, larger in pairwise(sorted(curve, key=lambda f: f.epsilon))
        if larger.value > smaller.value
    }
    assert marked("rises_with_epsilon") == rising
    assert len(rising) == 2


def test_cells_that_contradict_each_other_are_marked():
    same = defaultdict(set)
    for figure in accuracies():
        same[figure.measurement].add(figure)
    contradicting = {
        f for group in same.values() if len({f.value for f in group}) > 1 for f in group
    }
    assert marked("contradicts") == contradicting
    assert {(f.row, f.value) for f in contradicting} == {
        ("cfamc_m3", 75.88),
        ("cfamc_m3", 75.78),
        ("robust_simclr_crop", 0.33),
        ("robust_simclr_crop", 3.3),
        ("robust_simclr_crop", 44.57),
        ("robust_simclr_crop", 44.58),
    }


def test_the_rows_of_table_6_below_even_the_standard_head_are_marked():
    below = set()
    for figure in figures(quantity="AutoAttack", dataset="cifar10"):
        if figure.row in ("robust_emp_crop", "robust_simclr_crop"):
            place = {"row": figure.row, "dataset": "cifar10", "epsilon": figure.epsilon}
            if figure.value < value(table="table3", head="standard", **place):
                below.add(figure)
    assert marked("other_head") == below
    assert {f.value for f in below} == {16.66, 23.93}


def test_extrapolated_minutes_are_marked():
    measured = value(table="table4", row="cfamc_m3", quantity="minutes")
    assert {(f.row, f.value / measured) for f in marked("extrapolated")} == {
        ("cfamc_m5_18ep", 3),
        ("cfamc_m12", 4),
    }


def config(**changes):
    crops = {"num_crops": 16, "scale": [0.08, 1.0], **changes.pop("crops", {})}
    adversary = {"epsilon": "8/255", "replays": 3, **changes.pop("adversary", {})}
    plain = {"method": "cfamc", "max_epochs": 10, "backbone": {"name": "resnet18"}}
    return {**plain, "crops": crops, "adversary": adversary, **changes}


def test_a_run_is_recognised_by_its_settings():
    assert model_of(config()) == "cfamc_m3"
    assert model_of(config(adversary={"epsilon": 8 / 255})) == "cfamc_m3"
    assert model_of(config(crops={"scale": [0.25, 0.25]})) == "cfamc_m3_patch"
    assert model_of(config(adversary={"replays": 5}, max_epochs=18)) == "cfamc_m5_18ep"
    assert model_of(config(backbone={"name": "resnet50"})) == "cfamc_m3_resnet50"
    assert (
        model_of(
            {**config(max_epochs=500, crops={"num_crops": 2}), "method": "simclr", "adversary": {}}
        )
        == "simclr"
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"max_epochs": 9},
        {"crops": {"num_crops": 8}},
        {"adversary": {"replays": 4}},
        {"adversary": {"epsilon": "4/255"}},
        {"backbone": {"name": "resnet34"}},
        {"method": "emp_ssl"},
    ],
)
def test_a_run_with_other_settings_is_none_of_the_papers(changes):
    assert model_of(config(**changes)) is None
