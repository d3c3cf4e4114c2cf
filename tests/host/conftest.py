"""Where solo-learn is, for the tests that need it, and why they skip where it is not."""

import importlib.util
from pathlib import Path

import pytest

WHY = "solo-learn is not importable; SOLO_LEARN_ROOT=/path/to/its/checkout adds it"


@pytest.fixture(scope="session")
def solo_learn():
    """The root of solo-learn's checkout, or a skip."""
    spec = importlib.util.find_spec("solo")
    if spec is None or spec.origin is None:
        pytest.skip(WHY)
    return Path(spec.origin).parents[1]


@pytest.fixture(scope="session")
def solo_methods(solo_learn):
    """This package's methods on solo-learn, by name."""
    return importlib.import_module("solo_adv.host.solo_learn").METHODS
