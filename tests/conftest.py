"""Fixtures that all tests share, the path of solo-learn, and a small number of threads."""

import importlib
import importlib.util
import os
import signal
import sys
from pathlib import Path

import pytest
import torch
from hydra.core.global_hydra import GlobalHydra

torch.set_num_threads(1)

pytest_plugins = ["tests.published"]

WHY = "solo-learn is not importable; SOLO_LEARN_ROOT=/path/to/its/checkout adds it"
_ROOT = os.environ.get("SOLO_LEARN_ROOT")
if _ROOT:
    sys.path.append(_ROOT)  # appended, because solo-learn has a package called tests, too


@pytest.fixture
def command(monkeypatch, tmp_path, capsys):
    """A function that runs a command in an empty folder and returns exit status, output, errors."""
    monkeypatch.chdir(tmp_path)

    def run(name, *arguments):
        GlobalHydra.instance().clear()
        monkeypatch.setattr(sys, "argv", [f"{name}.py", *map(str, arguments)])
        status = 0
        try:
            inner = f"commands.{name[5:]}" if name.startswith("main_") else name
            importlib.import_module(f"solo_adv.{inner}").main()
        except SystemExit as stop:
            status = stop.code
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


@pytest.fixture(scope="session")
def solo_learn():
    """The root of solo-learn's checkout. Without one the test is skipped."""
    spec = importlib.util.find_spec("solo")
    if spec is None or spec.origin is None:
        pytest.skip(WHY)
    return Path(spec.origin).parents[1]


@pytest.fixture(scope="session")
def solo_methods(solo_learn):
    """This package's methods on solo-learn, by name."""
    return importlib.import_module("solo_adv.host.solo_learn").METHODS


@pytest.fixture
def heeding_signals():
    """Give signals their usual handlers, because a background process may ignore some of them."""
    usual = {signal.SIGINT: signal.default_int_handler}
    stops = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP)
    before = {number: signal.signal(number, usual.get(number, signal.SIG_DFL)) for number in stops}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
