"""A report's page is one whole file that shows every figure and executes nothing it is told."""

import base64
import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from solo_adv.adversaries import Ball
from solo_adv.report.corruptions import corruptions_measured
from solo_adv.report.examples import Examples
from solo_adv.report.html import pictures
from solo_adv.report.html.page import page
from solo_adv.report.record import Report
from tests.report.html.browser import in_browser  # noqa: F401  a fixture
from tests.report.html.parsed import Page
from tests.report.reports import PACKAGED, make_report, measurement

NASTY = '</pre></script><script>alert(1)</script><img src=x onerror=alert(2)>"\' onload="alert(3)'
COUNTS = {"gaussian_noise": [90, 80, 70, 60, 50], "fog": [95, 85, 75, 65, 55]}


def corruptions():
    return corruptions_measured(
        COUNTS,
        images=100,
        source="generated",
        generated=True,
        missing=["frost"],
        notes=["frost is left out"],
        seconds=1.0,
    )


def examples(truth=("no", "yes", "no"), after=("no", "no", "no"), before=None, size=4):
    shape = (len(truth), 3, size, size)
    clean = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    change = torch.where(clean < 0.5, 1.0, -1.0) * 8 / 255
    return Examples(
        clean=clean,
        attacked=clean + change,
        ball=Ball("linf", 8 / 255),
        truth=list(truth),
        before=list(before or truth),
        after=list(after),
    )


def test_every_measurement_is_in_the_table():
    report = make_report()
    report.measurements += [corruptions(), measurement("AutoAttack", 0.1, 8)]
    rows = {row[0]: row[1:] for row in Page(page(report)).rows}
    assert rows["clean"] == ["70.00", "67.09 to 72.76", "700 of 1,000"]
    assert rows["PGD-20 at 8/255"] == ["20.00", "17.64 to 22.59", "200 of 1,000"]
    assert rows["corruptions (2, generated)"][0] == "72.50"
    assert rows["chance (2 classes)"][0] == "50.00"
    assert {m.label for m in report.measurements} <= set(rows)


def test_the_verdict_alarms_and_notes_are_said():
    shown = Page(page(make_report(alarms=["it cannot be so", "nor so"])))
    assert "Of 100 test images, 70 are classified correctly, and 20 if PGD-20" in shown.text
    assert "Alarm: it cannot be so" in shown.text
    assert "Alarm: nor so" in shown.text
    assert [given["class"] for _, given in shown.tags if given.get("role") == "alert"] == ["alarms"]
    assert "PGD-20 at 8/255: too weak" in shown.text
    assert "Do not trust" not in Page(page(make_report())).text


def test_nothing_is_loaded_from_elsewhere_and_the_file_is_small():
    text = page(make_report(measurements=[*make_report().measurements, corruptions()]), examples())
    shown = Page(text)
    for link in shown.links():
        assert link.startswith("data:") or link == "report.json"
    assert "@import" not in text
    assert "url(" not in text
    assert len(page(make_report()).encode()) < 60_000


def test_text_from_outside_is_never_markup():
    report = make_report(
        method=NASTY,
        checkpoint=f"/{NASTY}.ckpt",
        alarms=[NASTY],
        pretrain_config={NASTY: NASTY, "recognised": NASTY},
        measurements=[
            *make_report().measurements,
            measurement(NASTY, 0.1, 8, notes=(NASTY,), details={NASTY: 3}),
        ],
    )
    report.data["name"] = NASTY
    report.hardware["name"] = NASTY
    shown = Page(page(report, examples(truth=(NASTY,), after=(NASTY,))))
    plain = Page(page(make_report(alarms=["one"]), examples(truth=("no",), after=("no",))))
    for tag in ("script", "img", "style", "pre"):
        assert len(shown.all(tag)) == len(plain.all(tag))
    assert not any(name.startswith("on") for _, given in shown.tags for name in given)
    assert shown.text.count("<script>alert(1)</script>") >= 12


@pytest.mark.parametrize("file", PACKAGED, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_old_reports_have_a_page(file):
    report = Report.read(file)
    labels = {row[0] for row in Page(page(report)).rows}
    assert {m.label for m in report.measurements} <= labels


def test_a_report_without_attacks_has_no_curve():
    report = make_report(measurements=[measurement("clean", 0.7)])
    shown = Page(page(report))
    assert shown.all("svg") == []
    assert "Nothing attacked them." in shown.text


def test_the_curve_has_the_figures_at_their_heights():
    report = make_report()
    circles = {}
    shown = Page(page(report))
    for number, (tag, given) in enumerate(shown.tags):
        if tag == "circle" and shown.tags[number + 1][0] == "title":
            circles[len(circles)] = (float(given["cx"]), float(given["cy"]))
    (x0, y0), (x4, y4), (x8, y8) = circles.values()
    assert (y4 - y0) / (y8 - y0) == pytest.approx((0.7 - 0.45) / (0.7 - 0.2), abs=2e-3)
    assert (x4 - x0) / (x8 - x0) == pytest.approx(0.5, abs=2e-3)
    assert "PGD-20 at 8/255: 20.00 % (17.64 to 22.59)" in shown.text
    (plot,) = shown.all("svg")
    assert (plot["role"], bool(plot["aria-label"])) == ("img", True)


def test_each_norm_has_a_plot_of_its_own():
    report = make_report()
    l2 = replace(measurement("PGD-20", 0.3), settings={"norm": "l2", "epsilon": 0.5})
    shown = Page(page(replace(report, measurements=[*report.measurements, l2])))
    assert ["L-infinity" in plot["aria-label"] for plot in shown.all("svg")] == [True, False]
    assert "0.5 (L2)" in shown.text


def test_corruptions_stand_by_severity():
    report = make_report(measurements=[*make_report().measurements, corruptions()])
    rows = {row[0]: row[1:] for row in Page(page(report)).rows}
    assert rows["gaussian noise"] == ["90.0", "80.0", "70.0", "60.0", "50.0", "70.0"]
    assert rows["mean"] == ["92.5", "82.5", "72.5", "62.5", "52.5", "72.5"]


def test_the_sheet_shows_the_images_their_change_and_the_outcome():
    made = examples(before=("no", "yes", "yes"))
    shown = Page(page(make_report(), made))
    images = shown.all("img")
    assert len(images) == 9
    assert all(image["alt"] for image in images)
    pixels = [_pixels(image["src"]) for image in images]
    for number in range(3):
        clean, change, attacked = pixels[3 * number : 3 * number + 3]
        assert np.array_equal(clean, _rounded(made.clean[number]))
        assert np.array_equal(attacked, _rounded(made.attacked[number]))
        assert set(np.unique(change)) <= {0, 255}  # every pixel was changed as far as allowed
    outcomes = [given.get("class") for given in shown.all("li")][-3:]
    assert outcomes == ["withstood", "broken", "wrong"]


def _pixels(url):
    data = base64.b64decode(url.removeprefix("data:image/png;base64,"))
    with Image.open(io.BytesIO(data)) as picture:
        return np.array(picture)


def _rounded(picture):
    return (picture * 255).round().permute(1, 2, 0).numpy().astype(np.uint8)


VISIBLE = """
const shown = () => [...document.querySelectorAll(".sheet li")]
  .filter((one) => getComputedStyle(one).display !== "none").map((one) => one.className);
const found = { begin: shown() };
for (const value of ["withstood", "broken", "wrong", "all"]) {
  document.querySelector(`[value=${value}]`).click();
  found[value] = shown();
}
dispatchEvent(new Event("beforeprint"));
found.unfolded = [...document.querySelectorAll("details")].every((part) => part.open);
return found;
"""


def test_the_sheet_is_filtered_and_paper_unfolds_everything(in_browser):  # noqa: F811
    outcomes = ["withstood", "broken", "wrong"]
    made = examples(before=("no", "yes", "yes"))
    assert in_browser(page(make_report(), made), VISIBLE) == {
        "begin": outcomes,
        **{outcome: [outcome] for outcome in outcomes},
        "all": outcomes,
        "unfolded": True,
    }


def test_pictures_beyond_the_limit_are_left_out_and_that_is_said(monkeypatch):
    one = len(page(make_report(), examples(truth=("no",), after=("no",), size=32)))
    monkeypatch.setattr(pictures, "MOST_BYTES", one // 2)
    shown = Page(page(make_report(), examples(size=32)))
    assert len(shown.all("img")) == 3
    assert "2 more are left out" in shown.text


def test_tables_and_regions_can_be_read_aloud():
    report = make_report(measurements=[*make_report().measurements, corruptions()])
    shown = Page(page(report, examples()))
    assert all(given.get("scope") in ("row", "col") for given in shown.all("th"))
    assert shown.all("html") == [{"lang": "en"}]
    assert len(shown.all("h1")) == len(shown.all("main")) == 1
    ids = {given["id"] for _, given in shown.tags if "id" in given}
    assert {
        given["aria-labelledby"] for _, given in shown.tags if "aria-labelledby" in given
    } <= ids


def test_a_given_head_is_part_of_the_command():
    report = make_report()
    assert "head_weights=head.safetensors" not in page(report)
    given = replace(report, weights={**report.weights, "head_given": True})
    assert "head_weights=head.safetensors" in page(given)
    known = page(replace(given, given={"head_weights": "other.safetensors"}))
    assert "head_weights=other.safetensors" in known
    assert "does not know" not in known
