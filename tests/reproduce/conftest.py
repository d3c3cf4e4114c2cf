"""Fixtures of the reproduction's tests."""

import pytest

from solo_adv.reproduce import commands
from tests.reproduce.jobs import StandIn


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    """A stand-in for Python in every command."""
    folder = tmp_path / "stand-in"
    folder.mkdir()
    found = StandIn(folder)
    monkeypatch.setattr(commands, "python", lambda: str(found.path))
    return found
