"""Templates escape, refuse what is missing, and are part of the package."""

import importlib
import re
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


TEXTS = ("ink", "soft", "accent", "bad", "good")
STYLE = (PACKAGE / "report" / "html" / "style.css").read_text()


def colours(part):
    """The colours that a part of the style sheet defines, as fractions of red, green and blue."""
    found = re.findall(r"--([\w-]+): #([0-9a-f]{6})\b", part)
    return {name: [int(code[i : i + 2], 16) / 255 for i in (0, 2, 4)] for name, code in found}


def contrast(one, other):
    """The contrast of two colours by WCAG 2, from 1 to 21."""

    def luminance(colour):
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour]
        return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def test_contrast():
    assert contrast([0, 0, 0], [1, 1, 1]) == pytest.approx(21)
    assert contrast([0.5] * 3, [0.5] * 3) == 1


@pytest.mark.parametrize("part", [1, 2], ids=["light", "dark"])
def test_texts_have_contrast(part):
    found = colours(STYLE.split(":root {")[part].partition("}")[0])
    assert {*TEXTS, "page", "raised", "bad-page"} <= set(found)
    assert all(contrast(found[name], found["page"]) >= 4.5 for name in TEXTS)
    assert contrast(found["bad"], found["bad-page"]) >= 4.5
    assert contrast(found["ink"], found["raised"]) >= 4.5
    fullest = [0.32 * a + 0.68 * p for a, p in zip(found["accent"], found["page"], strict=True)]
    assert "calc(var(--share) * 32%)" in STYLE
    assert contrast(found["ink"], fullest) >= 4.5
