"""The runner of the GPU list: order, budget, continuing, failures."""

import os
import sys
from pathlib import Path

import pytest

from benchmarks.gpu.__main__ import Item, State, command, items, run


@pytest.fixture
def script(tmp_path, monkeypatch):
    """Makes an item that runs some Python, in a module of its own."""
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
    run(todo, State(Path("state.json")), 5 + 3)
    assert log() == []
    assert not State(Path("state.json")).is_done("slow")
    run(todo, State(Path("state.json")), 60)
    assert log() == ["finished", "after"]


def test_nothing_starts_without_time(script):
    run([script("a", "log.write('a ')")], State(Path("state.json")), 1)
    assert log() == []


def test_the_newest_run_is_judged(tmp_path):
    for seconds, name in enumerate(("older", "newer"), start=1):
        folder = tmp_path / "trained/cfamc" / name
        folder.mkdir(parents=True)
        os.utime(folder, (seconds, seconds))
    item = next(item for item in items("DATA", tmp_path) if item.name == "cfamc-pgd")
    assert f"checkpoint={tmp_path}/trained/cfamc/newer" in command(item)
    assert command(item)[:3] == [sys.executable, "-m", "solo_adv.main_robust"]


def test_the_names_of_the_list_are_unique(tmp_path):
    names = [item.name for item in items("DATA", tmp_path)]
    assert len(names) == len(set(names))
