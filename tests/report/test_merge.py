"""Merging reports: beside the paper's figures where they are the same measurement, else alone."""

import json
import sys
from itertools import pairwise

import pytest
from PIL import Image

from solo_adv.paper import MODELS
from solo_adv.report import find_reports, merge, read_entry
from solo_adv.report.__main__ import main
from solo_adv.report.tables import columns


def config(row, **changes):
    """A pretraining config with the settings of a row of the paper."""
    setting = MODELS[row].setting
    adversary = {k.split(".")[1]: v for k, v in setting.items() if k.startswith("adversary.")}
    scale = [0.25, 0.25] if setting["geometry"] == "patch" else [0.08, 1.0]
    return {
        "name": f"{row}-run",
        "method": setting["method"],
        "max_epochs": setting["max_epochs"],
        "backbone": {"name": setting.get("backbone.name", "resnet18")},
        "crops": {"num_crops": setting.get("crops.num_crops", 2), "scale": scale},
        "adversary": {"epsilon": "8/255", **adversary},
        **changes,
    }


def report(directory, row="cfamc_m3", *, attacks=None, evaluation=None, training=None, **changes):
    """Write a report.json; ``attacks`` are (name, 255 * epsilon, accuracy)."""
    attacks = attacks or [("PGD-20", 4, 0.55), ("PGD-20", 8, 0.33), ("PGD-20", 16, 0.06)]
    held = {
        "method": MODELS[row].setting["method"],
        "checkpoint": "run/a.ckpt",
        "protocol": "central",
        "linear": "robust",
        "features": "hidden",
        "clean": 0.75,
        "attacks": [
            {"name": name, "epsilon": level / 255, "accuracy": accuracy}
            for name, level, accuracy in attacks
        ],
        "alarms": [],
        "num_images": 10000,
        "config": {"num_crops": 16, "space": "crop", "finetune": "none", **(evaluation or {})},
        "pretrain_config": config(row, **(training or {})),
        "data": {"name": "cifar10"},
        "crop_passes": 24_000_000,
        **changes,
    }
    directory.mkdir(parents=True, exist_ok=True)
    file = directory / "report.json"
    file.write_text(json.dumps(held))
    return file


def printed(entry):
    return {m.name: [f.value for f in m.paper] for m in entry.measurements}


def test_the_papers_figures_stand_beside_the_same_measurement(tmp_path):
    attacks = [("AutoAttack", 8, 0.3), ("PGD-20", 8, 0.33), ("PGD-50", 8, 0.32)]
    entry = read_entry(report(tmp_path, attacks=attacks))
    assert printed(entry) == {
        "clean": [75.88, 75.78],
        "PGD-20 8/255": [33.34],
        "PGD-50 8/255": [],
        "AutoAttack 8/255": [27.74],
    }
    assert entry.accuracy("PGD-20", 8 / 255).accuracy == pytest.approx(33)


def test_head_protocol_and_crops_choose_the_figure(tmp_path):
    robust = read_entry(report(tmp_path / "a", "robust_emp_crop"))
    standard = read_entry(report(tmp_path / "b", "robust_emp_crop", linear="standard"))
    assert printed(robust)["PGD-20 8/255"] == [28.49]
    assert printed(standard)["PGD-20 8/255"] == [8.95]
    crops = {"linear": "standard", "protocol": "crops"}
    many = read_entry(report(tmp_path / "c", "emp_ssl", **crops, evaluation={"num_crops": 64}))
    other = read_entry(report(tmp_path / "d", "emp_ssl", **crops, evaluation={"num_crops": 48}))
    assert printed(many)["clean"] == [93.29]
    assert printed(other)["clean"] == []


def test_a_head_that_the_paper_does_not_state_may_be_any(tmp_path):
    assert printed(read_entry(report(tmp_path, "supervised_freeadv_m3")))["clean"] == [82.63]


@pytest.mark.parametrize(
    "changes",
    [
        {"features": "backbone"},
        {"training": {"max_epochs": 9}},
        {"evaluation": {"finetune": "adversarial"}},
        {"data": {"name": "digits"}},
        {"linear": "standard"},
    ],
)
def test_another_measurement_has_no_figure_of_the_paper(tmp_path, changes):
    assert not any(printed(read_entry(report(tmp_path, **changes))).values())


def test_image_space_is_another_threat_model_than_the_papers_crops(tmp_path):
    crops = {"linear": "standard", "protocol": "crops"}
    settings = {"num_crops": 64, "space": "image"}
    entry = read_entry(report(tmp_path, "emp_ssl", **crops, evaluation=settings))
    assert printed(entry)["clean"] == []
    assert "image space" in entry.evaluation


def test_columns_are_clean_then_pgd_then_autoattack_by_epsilon(tmp_path):
    one = read_entry(report(tmp_path / "a", attacks=[("AutoAttack", 4, 0.5), ("PGD-20", 16, 0.1)]))
    two = read_entry(report(tmp_path / "b", attacks=[("PGD-20", 4, 0.5)]))
    names = [name for _, _, name in columns([one, two])]
    assert names == ["clean", "PGD-20 4/255", "PGD-20 16/255", "AutoAttack 4/255"]


def test_merging_writes_table_data_and_picture(tmp_path, capsys):
    files = [
        report(tmp_path / "in" / "deep" / "one", alarms=["cannot be so"]),
        report(tmp_path / "in" / "two", "robust_simclr_crop", attacks=[("AutoAttack", 16, 0.1)]),
    ]
    assert find_reports([tmp_path / "in", files[0]]) == files
    written = merge(files, tmp_path / "out")
    assert [path.name for path in written] == ["merged.md", "merged.json", "merged.png"]

    text = written[0].read_text()
    assert "75.00 (75.88 a / 75.78 a)" in text
    assert "- a: other tables of the paper" in text
    assert "10.00 (10.50 b)" in text
    assert "**ALARM** cfamc_m3-run, r-LE head: cannot be so" in text
    held = json.loads(written[1].read_text())["reports"]
    assert {entry["file"] for entry in held} == {str(file) for file in files}
    by_row = {entry["paper_row"]: entry for entry in held}
    (high,) = by_row["robust_simclr_crop"]["accuracies"][1]["paper"]
    assert high == {"table": "table6", "percent": 10.5, "mark": "above_pgd"}
    with Image.open(written[2]) as picture:
        assert min(picture.size) > 500
    assert "cannot be so" in capsys.readouterr().out


def test_without_pgd_at_8_there_is_no_picture(tmp_path):
    file = report(tmp_path, attacks=[("PGD-20", 4, 0.5)])
    assert [p.name for p in merge([file], tmp_path)] == ["merged.md", "merged.json"]


def test_the_picture_shows_ours_and_the_papers_points(tmp_path, monkeypatch):
    from matplotlib.axes import Axes  # noqa: PLC0415

    from solo_adv.report import tradeoff  # noqa: PLC0415

    drawn = []
    plot = Axes.plot

    def remember(axes, *args, **kwargs):
        drawn.append((args[:2], kwargs.get("color")))
        return plot(axes, *args, **kwargs)

    monkeypatch.setattr(Axes, "plot", remember)
    tradeoff.draw([read_entry(report(tmp_path))])
    points = {place: colour for place, colour in drawn if isinstance(place[0], float)}
    assert points[75.0, 33.0] == tradeoff.COLOURS[0]
    assert points[75.88, 33.34] == tradeoff.GREY
    assert len(points) == 1 + 17  # the paper's CIFAR-10 models with a robust or unstated head


def command(monkeypatch, capsys, *arguments):
    monkeypatch.setattr(sys, "argv", ["report", *map(str, arguments)])
    try:
        main()
    except SystemExit as stop:
        return stop.code, capsys.readouterr()
    return 0, capsys.readouterr()


def test_command(tmp_path, monkeypatch, capsys):
    report(tmp_path / "in")
    status, captured = command(monkeypatch, capsys, tmp_path / "in", "--output", tmp_path / "out")
    assert status == 0
    assert captured.out.rstrip().endswith("merged.png")
    places = [captured.out.index(name) for name in ("merged.md", "merged.json", "merged.png")]
    assert all(one < other for one, other in pairwise(places[1:]))


def _broken(directory, text):
    directory.mkdir()
    (directory / "report.json").write_text(text)
    return directory


MISTAKES = {
    "no such directory": (lambda d: d / "nowhere", "No such directory"),
    "no report": (lambda d: d, "main_robust.py writes them"),
    "no JSON": (lambda d: _broken(d / "a", "{"), "cannot be read as a report"),
    "of something else": (lambda d: _broken(d / "a", '{"clean": 1}'), "it lacks alarms, attacks"),
    "a list": (lambda d: _broken(d / "a", "[]"), "is not a report"),
    "unwritable": (lambda d: report(d / "a").parent, "--output"),
    "no accuracy": (lambda d: report(d / "a", clean=None).parent, "is not a whole report"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_mistakes_are_one_line(case, tmp_path, monkeypatch, capsys):
    make, words = MISTAKES[case]
    status, captured = command(monkeypatch, capsys, make(tmp_path), "--output", "/proc/nowhere")
    assert status == 2
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
    assert words in captured.err
