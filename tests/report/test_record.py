"""Reports in today's format and in the first one are read back unchanged."""

import json
import re
from pathlib import Path

import pytest

from solo_adv.report.markdown import page
from solo_adv.report.record import FORMAT, Report
from solo_adv.support.errors import UserError
from tests.report.reports import FIRST_FORMAT, PACKAGED, make_report


def written(report, path, change=None):
    held = report.to_dict()
    if change is not None:
        change(held)
    path.write_text(json.dumps(held, allow_nan=False))
    return path


def test_the_json_has_a_format_number_and_plain_values(tmp_path):
    held = json.loads(written(make_report(), tmp_path / "report.json").read_text())
    assert held["format"] == FORMAT == 2
    assert held["pretrain_config"] == {"lr": 0.3, "limit": "inf", "views": [1, 2]}
    assert held["measurements"][-1] == {
        "name": "PGD-20",
        "correct": 200,
        "total": 1000,
        "settings": {"norm": "linf", "epsilon": 8 / 255},
        "notes": ["too weak"],
        "details": {},
        "seconds": 0.0,
    }


def test_a_report_is_read_back_unchanged(tmp_path):
    report = make_report(pretrain_config={"lr": 0.3})
    assert Report.read(written(report, tmp_path / "report.json")) == report


@pytest.mark.parametrize("file", FIRST_FORMAT, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_packaged_reports_of_the_first_format_have_the_same_figures(file):
    held, report = json.loads(file.read_text()), Report.read(file)
    figures = {m.label: m.accuracy for m in report.measurements}
    assert figures == {
        "kNN": held["knn"],
        "clean": held["clean"],
        "clean, top-5": held["clean_top5"],
        **{f"{a['name']} at {a['epsilon_text']}": a["accuracy"] for a in held["attacks"]},
    }
    for attack, old in zip(report.attacks, held["attacks"], strict=True):
        assert (attack.correct, attack.total) == (old["correct"], old["total"])
        assert attack.settings["steps"] == old["steps"]
        assert (attack.details, attack.seconds) == (old["broken_by"], old["seconds"])
    assert report.num_images == held["num_images"]
    assert report.config == {"norm": "linf", **held["config"]}
    for name in ("pretrain_config", "weights", "probes", "data", "alarms", "versions"):
        assert getattr(report, name) == held[name]


@pytest.mark.parametrize("file", PACKAGED, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_the_page_of_a_packaged_report_shows_what_is_packaged(file):
    figure = re.compile(r"^\| .* \| (\d+\.\d\d) \|", re.MULTILINE)
    shown, before = (
        sorted(figure.findall(text)) for text in (page(Report.read(file)), _page_of(file))
    )
    assert shown == before
    assert len(shown) >= 6


def _page_of(file: Path) -> str:
    return file.with_suffix(".md").read_text()


def test_a_report_older_than_its_optional_parts_is_read(tmp_path):
    held = json.loads(FIRST_FORMAT[0].read_text())
    for name in ("weights", "probes"):
        del held[name]
    for attack in held["attacks"]:
        del attack["broken_by"]
    (tmp_path / "report.json").write_text(json.dumps(held))
    report = Report.read(tmp_path / "report.json")
    assert (report.weights, report.probes) == (None, None)
    assert report.attacks[0].details == {}


def _of_another_format(held):
    held["format"] = 3


def _without_clean(held):
    held["measurements"] = [m for m in held["measurements"] if m["name"] != "clean"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_of_another_format, "it has format 3, for which this solo-adv is too old"),
        (_without_clean, "is not a whole report: KeyError('clean')"),
        (lambda held: held.pop("alarms"), "is not a whole report: KeyError('alarms')"),
        (lambda held: held.update(surprise=1), "is not a whole report: TypeError"),
        (lambda held: held["measurements"][1].update(correct=None), "is not a whole report"),
        (lambda held: held["measurements"][1].update(correct=2000), "2000 of 1000 images"),
    ],
)
def test_json_of_something_else_is_refused(tmp_path, change, words):
    path = written(make_report(), tmp_path / "report.json", change)
    with pytest.raises(UserError, match=re.escape(words)) as caught:
        Report.read(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["{", "[]", '"report"', "\xff"])
def test_a_file_that_is_no_report_is_refused(tmp_path, text):
    path = tmp_path / "report.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(UserError, match=r"cannot be read as a report|is not a report"):
        Report.read(path)
    with pytest.raises(UserError, match="cannot be read"):
        Report.read(tmp_path / "nothing")
