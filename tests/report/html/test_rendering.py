"""Templates escape, refuse what is missing, and are part of the package."""

import importlib
from pathlib import Path

import pytest
from jinja2 import UndefinedError

import solo_adv
from solo_adv.report.html.rendering import percent, render

PACKAGE = Path(solo_adv.__file__).parent


def test_a_template_without_its_values_is_an_error():
    with pytest.raises(UndefinedError):
        render("report.html", title="alone")


def test_percent():
    assert (percent(0.12345), percent(1, 0)) == ("12.35", "100")


def test_the_package_contains_every_file_of_the_pages(monkeypatch):
    pytest.importorskip("setuptools")  # brings distutils along, which Python 3.12 lacks
    run_setup = importlib.import_module("distutils.core").run_setup
    monkeypatch.chdir(PACKAGE.parent)
    patterns = run_setup("setup.py", stop_after="init").package_data["solo_adv"]
    packaged = {file for pattern in patterns for file in PACKAGE.glob(pattern)}
    folder = PACKAGE / "report" / "html"
    needed = {file for file in folder.iterdir() if file.is_file() and file.suffix != ".py"}
    assert needed
    assert needed <= packaged
