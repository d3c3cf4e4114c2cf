"""Progress in a notebook, where a terminal's bar would be garbage."""

import io
import re
import sys

import pytest

from solo_adv.support import progress


@pytest.fixture
def notebook(monkeypatch):
    monkeypatch.setattr(progress, "in_notebook", lambda: True)


def test_a_notebook_gets_a_bar_of_tqdm(notebook, capsys):
    bar = progress.open_bar(total=10, done=2)
    bar.show(5, "epoch 1/2", "loss 1.5")
    bar.stop()
    told = capsys.readouterr().err
    assert "5/10" in told
    assert "epoch 1/2" in told
    assert "loss 1.5" in told
    assert "\x1b[" not in told


def test_items_are_tracked_in_a_notebook(notebook, capsys, monkeypatch):
    monkeypatch.setattr(progress, "BAR_AFTER_SECONDS", 0.0)
    assert list(progress.track(iter("abc"), "Reading", 3)) == ["a", "b", "c"]
    assert "Reading" in capsys.readouterr().err


def test_a_log_file_gets_no_bar(monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: False, raising=False)
    assert not progress.in_notebook()
    assert progress.open_bar(total=10, done=0) is None


@pytest.mark.parametrize("width", [80, 60, 40])
def test_a_narrow_terminal_keeps_epoch_count_and_time_left(monkeypatch, width):
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("TERM", "xterm")
    bar = progress.open_bar(total=12_000, done=0)
    figures = "loss 43.2  invariance 0.98  coding_rate 41.5  lr 0.3  val_acc1 10.2  9 crop passes/s"
    bar.show(345, "epoch 7/100", figures)
    bar.stop()
    last = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", terminal.getvalue()).splitlines()
    assert max(map(len, last)) <= width
    text = " ".join(" ".join(last[-8:]).split())
    assert "345/12000" in text
    assert "left:" in text
    assert re.search(r"epoch.*7/100", text)
    assert "…" not in text
    for word in figures.split():
        assert word in text
