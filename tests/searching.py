"""The zoo that the package searches: none but the packaged one, or a published one."""

import pytest


@pytest.fixture(autouse=True)
def nowhere(monkeypatch, tmp_path):
    """Give every test an empty cache, and hide the user's environment variables."""
    for name in ("SOLO_ADV_ZOO_URL", "SOLO_ADV_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SOLO_ADV_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def zoo(published, monkeypatch):
    """The published zoo, whose directory the package searches."""
    monkeypatch.setenv("SOLO_ADV_ZOO_URL", str(published.directory))
    return published
