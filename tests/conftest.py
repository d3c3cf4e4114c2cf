"""Shared by all tests: where solo-learn is, and few threads on small problems."""

import importlib
import os
import sys

import pytest
import torch
from hydra.core.global_hydra import GlobalHydra

torch.set_num_threads(1)

_ROOT = os.environ.get("SOLO_LEARN_ROOT")
if _ROOT:
    sys.path.append(_ROOT)  # it has a package called tests, too


@pytest.fixture
def command(monkeypatch, tmp_path, capsys):
    """Runs a command in an empty folder; returns exit status, standard output and error."""
    monkeypatch.chdir(tmp_path)

    def run(name, *arguments):
        GlobalHydra.instance().clear()
        monkeypatch.setattr(sys, "argv", [f"{name}.py", *map(str, arguments)])
        status = 0
        try:
            importlib.import_module(f"solo_adv.{name}").main()
        except SystemExit as stop:
            status = stop.code
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run
