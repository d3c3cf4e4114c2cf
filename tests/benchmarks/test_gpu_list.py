"""The runner of the list of GPU measurements: order, time budget, continuing and failures."""

import sys
from pathlib import Path

import pytest

from benchmarks.gpu.__main__ import SPARE_SECONDS, Item, State, command, items, main, run
from solo_adv import UserError

ROOT = Path(__file__).parents[2]


@pytest.fixture
def script(tmp_path, monkeypatch):
    """Makes an item that runs a module with some Python code."""
    monkeypatch.chdir(tmp_path)

    def make(name, code, **settings):
        Path(f"item_{name}.py").write_text(f"log = open('log', 'a')\n{code}\n")
        return Item(name=name, module=f"item_{name}", **settings)

    return make


def log():
    return Path("log").read_text().split() if Path("log").exists() else []


def test_items_run_once_and_in_order(script):
    todo = [script(name, f"log.write('{name} ')") for name in ("b", "a", "c")]
    for _ in range(2):
        run(todo, State(Path("state.json")), 60)
    assert log() == ["b", "a", "c"]
    assert [State(Path("state.json")).items[name]["status"] for name in "abc"] == [0, 0, 0]


def test_a_failure_is_noted_and_does_not_stop_the_rest(script):
    todo = [script("a", "raise SystemExit(3)"), script("b", "log.write('b ')")]
    state = State(Path("state.json"))
    run(todo, state, 60)
    assert log() == ["b"]
    assert state.items["a"]["status"] == 3


def test_an_item_that_is_cut_off_continues_in_the_next_call(script):
    code = """
import os, time
begun = os.path.exists('begun')
open('begun', 'w').close()
if not begun:
    time.sleep(60)
log.write('finished ')
"""
    todo = [script("slow", code, resumes=True), script("after", "log.write('after ')")]
    run(todo, State(Path("state.json")), SPARE_SECONDS + 3)
    assert log() == []
    assert not State(Path("state.json")).is_done("slow")
    run(todo, State(Path("state.json")), 60)
    assert log() == ["finished", "after"]


def test_nothing_starts_without_time(script):
    run([script("a", "log.write('a ')")], State(Path("state.json")), 1)
    assert log() == []


def test_an_item_that_cannot_resume_waits_for_more_time(script, capsys):
    todo = [script("slow", "import time; time.sleep(60)"), script("after", "log.write('after ')")]
    run(todo, State(Path("state.json")), SPARE_SECONDS + 2)
    assert log() == []
    run(
        todo, State(Path("state.json")), SPARE_SECONDS + 2
    )  # skipped, because there is no more time than before
    assert log() == ["after"]
    assert "slow: skipped" in capsys.readouterr().out
    assert not State(Path("state.json")).is_done("slow")


def test_a_run_that_asks_to_be_continued_is_not_done(script):
    code = """
import os
begun = os.path.exists('begun')
open('begun', 'w').close()
if not begun:
    raise SystemExit(75)
log.write('finished ')
"""
    todo = [script("stopped", code, resumes=True)]
    run(todo, State(Path("state.json")), 60)
    assert not State(Path("state.json")).is_done("stopped")
    run(todo, State(Path("state.json")), 60)
    assert log() == ["finished"]


def test_results_go_where_the_caller_says(script, tmp_path):
    code = "import os; log.write(os.environ['BENCHMARK_RESULTS'])"  # benchmarks.record reads it
    run([script("a", code)], State(Path("state.json")), 60, results=tmp_path / "elsewhere")
    assert log() == [str(tmp_path / "elsewhere")]


def test_evaluations_judge_the_run_that_was_trained(tmp_path):
    by_name = {item.name: item for item in items("DATA", tmp_path)}
    training, judging = (command(by_name[name]) for name in ("cfamc_m3", "cfamc_m3-autoattack"))
    assert training[:3] == [sys.executable, "-m", "solo_adv.reproduce"]
    # Both have the same row and directory, so the second finds the checkpoint of the first.
    assert [a for a, b in zip(training, judging, strict=True) if a != b] == ["table4"]
    assert "DATA" in training
    assert "precision=bf16-mixed" in training


def test_settings_reach_every_training(tmp_path):
    for item in items("DATA", tmp_path, settings=["performance.compile=default"]):
        asked = "performance.compile=default" in item.arguments
        assert asked == (item.module in ("solo_adv.reproduce", "benchmarks.methods"))


def test_trainings_use_graphs_where_lars_can_be_in_one(tmp_path, monkeypatch, capsys):
    def graphs():
        trained = [item for item in items("DATA", tmp_path) if item.resumes]
        return {a for item in trained for a in item.arguments if a.startswith("performance.")}

    assert graphs() == {"performance.graph=replay"}
    assert capsys.readouterr().err == ""

    def old(name):
        raise UserError("install a newer timm")

    monkeypatch.setattr("benchmarks.gpu.__main__.check_takes_tensors", old)
    assert graphs() == {"performance.graph=none"}
    assert "without CUDA graphs: install a newer timm" in capsys.readouterr().err


def test_a_rehearsal_needs_no_data_and_is_small(tmp_path):
    for item in items("DATA", tmp_path, rehearsal=True):
        line = command(item, rehearsal=True)
        assert "DATA" not in line
        assert item.toy or item.module in ("pytest", "solo_adv.reproduce")
        if item.module == "solo_adv.reproduce":
            assert line[line.index("--scale") + 1] == "tiny"


LIST = [item.name for item in items("DATA", Path("work"), rehearsal=True)]


@pytest.mark.slow
@pytest.mark.parametrize("name", LIST)
def test_every_item_runs_at_toy_size_on_the_cpu(monkeypatch, tmp_path, name):
    work = tmp_path / "work"
    (item,) = (i for i in items("DATA", work, rehearsal=True) if i.name == name)
    monkeypatch.chdir(ROOT)
    state = State(work / "state.json")
    run([item], state, 3600, rehearsal=True, results=tmp_path / "results")
    assert state.items[name]["status"] == 0


def test_the_names_of_the_list_are_unique(tmp_path):
    names = [item.name for item in items("DATA", tmp_path)]
    assert len(names) == len(set(names))
    assert names == LIST


def test_the_command_lists_and_names_what_failed(script, monkeypatch, capsys):
    failing = script("bad", "raise SystemExit(3)")
    monkeypatch.setattr("benchmarks.gpu.__main__.items", lambda *_, **__: [failing])
    monkeypatch.setattr(sys, "argv", ["gpu", "--rehearse"])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 1
    assert "Failed: bad" in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", ["gpu", "--rehearse", "--list"])
    main()
    assert "bad: {" in capsys.readouterr().out
