"""Progress in a notebook, where a terminal's bar would be garbage."""

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
