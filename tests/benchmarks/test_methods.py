"""The comparison of methods: which rows a round has, and a rehearsal that is killed."""

import argparse
import json
import sys

import pytest

from benchmarks import methods
from benchmarks.methods import ARMS, Row, best, rows_of
from benchmarks.record import RESULTS
from solo_adv import load_pretrained


def row(arm, budget, robust, seed=1):
    return {
        **{"arm": arm, "budget": budget, "images": 10_000, "seed": seed, "precision": "32-true"},
        **{"backbone": {"clean": 50.0, "4/255": 30.0, "8/255": robust}},
    }


ROWS = [
    row("acl", 600, 1.0),
    row("cfamc", 600, 9.0),
    *(row("cfamc, step 4/255", 600, robust, seed) for seed, robust in ((1, 12.0), (2, 14.0))),
    row("deacl", 600, 8.0),
    row("labels, RS-FGSM (ceiling)", 600, 40.0),
    {**row("dynacl", 600, 2.0), "hidden": {"clean": 1.0, "4/255": 1.0, "8/255": 20.0}},
]


def test_the_best_arms_are_the_most_robust_ones_and_cfamc():
    assert best(ROWS, 600, 2) == ["dynacl", "cfamc, step 4/255", "cfamc"]
    assert best(ROWS, 600, 4) == ["dynacl", "cfamc, step 4/255", "cfamc", "deacl"]


def test_robust_heads_decide_if_all_arms_have_them(capsys):
    def judged(held, both):
        return {**held, "backbone, robust head": {"8/255, both losses": both}}

    rows = [judged(held, both) for held, both in zip(ROWS, [5, 9, 12, 10, 20, 40, 1], strict=True)]
    assert best(rows, 600, 2) == ["deacl", "cfamc, step 4/255", "cfamc"]
    assert capsys.readouterr().err == ""
    before = row("deacl", 600, 90.0)  # a row from before robust heads, of an arm that has one
    assert best([before, *rows], 600, 2) == ["deacl", "cfamc, step 4/255", "cfamc"]
    assert best([*rows, row("fare", 600, 30.0)], 600, 1) == ["fare", "cfamc"]
    assert "because fare lack" in capsys.readouterr().err


def test_rounds_have_the_budgets_that_are_promised():
    options = argparse.Namespace(
        budget=600_000, images=None, seeds=None, arms=None, precision="32-true", settings=[]
    )
    rows = [{**held, "budget": held["budget"] * 1000} for held in ROWS]
    assert [r.arm for r in rows_of(1, rows, options)] == list(ARMS)
    second = rows_of(2, rows, options)
    assert [(r.passes, r.images) for r in second] == [(1_200_000, 10_000)] * 8
    assert [r.seed for r in second] == [1] * 4 + [2] * 4
    doubled = [{**held, "budget": 2 * held["budget"]} for held in rows]
    third = rows_of(3, doubled, options)
    assert [(r.arm, r.passes, r.images) for r in third] == [
        (arm, 5_000_000, 50_000) for arm in ("dynacl", "cfamc, step 4/255", "cfamc")
    ]
    options.seeds, options.images = [3], 600
    for number in (1, 2, 3):  # every round trains the seeds and images that are named
        assert {(r.seed, r.images) for r in rows_of(number, doubled + rows, options)} == {(3, 600)}


@pytest.fixture
def no_own_methods(monkeypatch):
    monkeypatch.setattr(methods, "OWN_METHODS", {})  # other tests walk through all methods


def arguments(tmp_path, *more):
    return [
        *("methods", "--data", "digits", "--arms", "cfamc", "--images", "1297", "--seeds", "5"),
        *("--output", str(tmp_path / "methods.json"), *more),
    ]


@pytest.mark.usefixtures("no_own_methods")
def test_a_model_that_is_there_stands_for_a_row(tmp_path, monkeypatch, capsys):
    model = "cfamc_resnet10w16_digits_m3"
    passes = load_pretrained(model).crop_passes
    judged, heads = [], {"judged": 30.0, "judged_by_robust_head": 40.0}
    for name, clean in heads.items():

        def fake(encoder, train_set, test_set, clean=clean):
            judged.append((encoder.features, len(train_set), len(test_set)))
            return {"clean": clean, "4/255": 20.0, "8/255": 10.0, "8/255, both losses": 9.0}

        monkeypatch.setattr(methods, name, fake)
    given = ("--trained", model, "--budget", str(passes + 1))
    monkeypatch.setattr(sys, "argv", arguments(tmp_path, *given))
    methods.main()
    (found,) = json.loads((tmp_path / "methods.json").read_text())["rows"]
    assert found["trained"] == model
    assert found["crop_passes"] == passes
    assert found["backbone"]["clean"] == 30
    assert found["backbone, robust head"]["8/255, both losses"] == 9
    assert "hidden" not in found
    assert judged == [("backbone", 1297, 500)] * 2
    assert "| 20.0 | 10.0 | 9.0 |" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (["--budget", "600"], "'budget': 600"),
        (["--budget", "288000", "--seeds", "6"], "'seed': 6"),
        (["--budget", "288000", "--images", "600"], "'images': 600"),
        (["--budget", "288000", "--arms", "acl"], "'method': 'acl'"),
        (["--arms", "acl", "cfamc"], "one row, and 2 are asked for"),
        (
            ["--budget", "288000", "--arms", "cfamc, step 4/255"],
            "with other options than the arm: adversary.step_size was 0.01, is 4/255.",
        ),
    ],
)
@pytest.mark.usefixtures("no_own_methods")
def test_a_model_of_another_row_is_refused(tmp_path, monkeypatch, capsys, changes, words):
    given = ("--trained", "cfamc_resnet10w16_digits_m3", *changes)
    monkeypatch.setattr(sys, "argv", arguments(tmp_path, *given))
    with pytest.raises(SystemExit):
        methods.main()
    assert words in capsys.readouterr().err
    assert not (tmp_path / "methods.json").exists()


@pytest.mark.usefixtures("no_own_methods")
def test_an_arm_that_fails_does_not_stop_the_others(tmp_path, monkeypatch, capsys):
    def fake(row, *arguments):
        if row.arm == "acl":
            raise ValueError("broken")
        found = {"seconds": 1, "crop_passes": 600, "backbone": {"8/255": 9.0}}
        run = {"images": 1297, "seed": row.seed, "precision": row.precision}
        return {"arm": row.arm, "budget": 600, **run, **found}

    monkeypatch.setattr(methods, "measured", fake)
    monkeypatch.setattr(sys, "argv", arguments(tmp_path, "--arms", "acl", "cfamc", "deacl"))
    with pytest.raises(SystemExit) as ended:
        methods.main()
    assert ended.value.code == 2
    shown = capsys.readouterr()
    assert "ValueError: broken" in shown.err
    assert "Failed: acl." in shown.err
    assert [row["arm"] for row in methods.stored(tmp_path / "methods.json")] == ["cfamc", "deacl"]


def test_a_row_of_another_process_is_kept(tmp_path):
    file = tmp_path / "methods.json"
    first = {**row("cfamc", 600, 9.0), "seconds": 5}
    assert methods.added(first, file) == [first]
    assert methods.added({**row("acl", 600, 1.0), "seconds": 1}, file)[0] == first
    other = {**row("cfamc", 600, 7.0), "seconds": 2, "precision": "bf16-mixed"}
    assert len(methods.added(other, file)) == 3  # another run
    again = methods.added({**row("cfamc", 600, 8.0), "seconds": 0}, file)
    assert [(r["arm"], r["seconds"], r["backbone"]["8/255"]) for r in again] == [
        ("acl", 1, 1.0),
        ("cfamc", 2, 7.0),
        ("cfamc", 5, 8.0),
    ]
    assert methods.stored(file) == again


def test_a_rising_epsilon_is_trained_without_graph(capsys):
    settings = ("performance.graph=replay", "checkpoint.minutes=1")
    (rising,), (plain,) = ARMS["cfamc, epsilon rises over half"], ARMS["cfamc"]
    assert methods._usable(settings, rising) == ["checkpoint.minutes=1"]
    assert "adversary.ramp=0.5 runs without performance.graph=replay" in capsys.readouterr().err
    assert methods._usable(settings, plain) == list(settings)
    assert capsys.readouterr().err == ""


def test_arms_share_what_they_begin_with():
    directories = {
        arm: [
            Row(arm, 600, 100, 1).directory(stages[: number + 1]) for number in range(len(stages))
        ]
        for arm, stages in ARMS.items()
    }
    teachers = {directories[arm][0] for arm in ("deacl", "deacl_fast", "deacl_freeadv")}
    assert len(teachers) == 1
    assert len({found[-1] for found in directories.values()}) == len(ARMS)
    assert Row("deacl", 600, 100, 2).directory(ARMS["deacl"][:1]) not in teachers
    assert Row("deacl", 600, 100, 1, "bf16-mixed").directory(ARMS["deacl"][:1]) not in teachers


def test_the_table_in_the_docs_is_that_of_the_result_file():
    rows = json.loads((RESULTS / "methods.json").read_text())["rows"]
    text = (RESULTS.parents[1] / "docs/methods.md").read_text()
    assert methods.table(rows) in text


@pytest.mark.slow
@pytest.mark.usefixtures("no_own_methods")
def test_a_rehearsal_continues_and_measures_nothing_twice(tmp_path, monkeypatch, capsys):
    output = tmp_path / "methods.json"
    monkeypatch.setattr(
        *(sys, "argv"),
        [
            *("methods", "--data", "digits", "--budget", "2000", "--work", str(tmp_path / "work")),
            *("--output", str(output), "--arms", "deacl_fast", "cfamc"),
        ],
    )
    judged = methods.judged

    def killed(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(methods, "judged", killed)
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        methods.main()
    monkeypatch.setattr(methods, "judged", judged)
    methods.main()
    out = capsys.readouterr().out
    assert "1 of 2" in out
    runs = [len(list(folder.glob("*/*/args.json"))) for folder in (tmp_path / "work").iterdir()]
    assert runs == [1, 1, 1]  # teacher, student and cfamc, each trained once
    rows = json.loads(output.read_text())["rows"]
    assert [found["arm"] for found in rows] == ["deacl_fast", "cfamc"]
    assert all(abs(found["crop_passes"] - 2000) < 600 for found in rows)
    assert {"device", "precision", "backbone", "backbone, robust head"} <= set(rows[0])
    monkeypatch.setattr(methods, "measured", lambda *arguments: 1 / 0)
    methods.main()
    assert len(json.loads(output.read_text())["rows"]) == 2
    monkeypatch.setattr(methods, "measured", lambda row, *arguments: {**rows[0], "arm": row.arm})
    monkeypatch.setattr("sys.argv", [*sys.argv, "--again"])
    methods.main()
    again = json.loads(output.read_text())["rows"]
    assert [found["backbone"] for found in again] == [rows[0]["backbone"]] * 2
