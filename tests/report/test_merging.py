"""Merging reports shows the paper's figures beside ours if they are the same measurement."""

import json
import sys
from itertools import pairwise

import pytest
from PIL import Image

from solo_adv.paper import MODELS
from solo_adv.report import find_reports, merge, read_entry
from solo_adv.report.__main__ import main
from solo_adv.report.tables import columns
from tests.report.reports import FIRST_FORMAT, make_report, measurement


def config(row, **changes):
    """Make a pretraining config with the settings of a row of the paper."""
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


@pytest.fixture
def report():
    """A function that writes a report.json; ``attacks`` are (name, 255 * epsilon, accuracy)."""

    def write(
        directory, row="cfamc_m3", *, attacks=None, evaluation=None, training=None, **changes
    ):
        attacks = attacks or [("PGD-20", 4, 0.55), ("PGD-20", 8, 0.33), ("PGD-20", 16, 0.06)]
        figures = [("clean", None, 0.75), *attacks]
        held = make_report(
            method=MODELS[row].setting["method"],
            measurements=[
                measurement(name, accuracy, level, total=10_000)
                for name, level, accuracy in figures
            ],
            pretrain_config=config(row, **(training or {})),
            crop_passes=24_000_000,
        ).to_dict()
        held["config"] |= {"linear": "robust", **(evaluation or {})}
        held["data"]["name"] = "cifar10"
        directory.mkdir(parents=True, exist_ok=True)
        file = directory / "report.json"
        file.write_text(json.dumps(held | changes))
        return file

    return write


def printed(entry):
    return {label: [f.value for f in figures] for label, figures in entry.printed.items()}


def test_the_papers_figures_stand_beside_the_same_measurement(tmp_path, report):
    attacks = [("AutoAttack", 8, 0.3), ("PGD-20", 8, 0.33), ("PGD-50", 8, 0.32)]
    entry = read_entry(report(tmp_path, attacks=attacks))
    assert printed(entry) == {
        "clean": [75.88, 75.78],
        "PGD-20 at 8/255": [33.34],
        "PGD-50 at 8/255": [],
        "AutoAttack at 8/255": [27.74],
    }
    assert entry.by_label["PGD-20 at 8/255"].accuracy == 0.33


def test_head_protocol_and_crops_choose_the_figure(tmp_path, report):
    robust = read_entry(report(tmp_path / "a", "robust_emp_crop"))
    standard = read_entry(
        report(tmp_path / "b", "robust_emp_crop", evaluation={"linear": "standard"})
    )
    assert printed(robust)["PGD-20 at 8/255"] == [28.49]
    assert printed(standard)["PGD-20 at 8/255"] == [8.95]
    crops = {"linear": "standard", "protocol": "crops"}
    many, other = (
        read_entry(report(tmp_path / f"{n}", "emp_ssl", evaluation={**crops, "num_crops": n}))
        for n in (64, 48)
    )
    assert printed(many)["clean"] == [93.29]
    assert printed(other)["clean"] == []


def test_a_head_that_the_paper_does_not_state_may_be_any(tmp_path, report):
    assert printed(read_entry(report(tmp_path, "supervised_freeadv_m3")))["clean"] == [82.63]


@pytest.mark.parametrize(
    "changes",
    [
        {"evaluation": {"features": "backbone"}},
        {"training": {"max_epochs": 9}},
        {"evaluation": {"finetune": "adversarial"}},
        {"data": {"name": "digits", "classes": 10}},
        {"evaluation": {"linear": "standard"}},
    ],
)
def test_another_measurement_has_no_figure_of_the_paper(tmp_path, changes, report):
    assert not any(printed(read_entry(report(tmp_path, **changes))).values())


def test_few_labels_are_another_measurement_than_the_papers(tmp_path, report):
    data = json.loads(report(tmp_path).read_text())["data"]
    drawn = {"part": "10%", "seed": 0, "per_class": [500] * 10}
    entry = read_entry(report(tmp_path, data={**data, "labels": drawn}))
    assert not any(printed(entry).values())
    assert entry.evaluation.endswith("10% of the labels")
    drawn = {"part": "4_per_class", "seed": 7, "per_class": [4] * 10}
    entry = read_entry(report(tmp_path, data={**data, "labels": drawn}))
    assert entry.evaluation.endswith("4 labels a class (seed 7)")


def test_a_transfer_is_another_measurement_than_the_papers(tmp_path, report):
    data = json.loads(report(tmp_path).read_text())["data"]
    transfer = {"pretrained_on": "cifar100", "judged_on": "cifar10"}
    entry = read_entry(report(tmp_path, data={**data, "transfer": transfer}))
    assert not any(printed(entry).values())
    assert entry.evaluation.endswith("transfer from cifar100")


def test_image_space_is_another_threat_model_than_the_papers_crops(tmp_path, report):
    settings = {"linear": "standard", "protocol": "crops", "num_crops": 64, "space": "image"}
    entry = read_entry(report(tmp_path, "emp_ssl", evaluation=settings))
    assert printed(entry)["clean"] == []
    assert "image space" in entry.evaluation


def test_columns_are_clean_then_pgd_then_autoattack_by_epsilon(tmp_path, report):
    one = read_entry(report(tmp_path / "a", attacks=[("AutoAttack", 4, 0.5), ("PGD-20", 16, 0.1)]))
    two = read_entry(report(tmp_path / "b", attacks=[("PGD-20", 4, 0.5)]))
    assert columns([one, two]) == [
        "clean",
        "PGD-20 at 4/255",
        "PGD-20 at 16/255",
        "AutoAttack at 4/255",
    ]


def test_merging_writes_table_data_and_picture(tmp_path, capsys, report):
    files = [
        report(tmp_path / "in" / "deep" / "one", alarms=["cannot be so"]),
        report(tmp_path / "in" / "two", "robust_simclr_crop", attacks=[("AutoAttack", 16, 0.1)]),
    ]
    assert find_reports([tmp_path / "in", files[0]]) == files
    written = merge(map(read_entry, files), tmp_path / "out")
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


def test_without_pgd_at_8_there_is_no_picture(tmp_path, report):
    entry = read_entry(report(tmp_path, attacks=[("PGD-20", 4, 0.5)]))
    assert [p.name for p in merge([entry], tmp_path)] == ["merged.md", "merged.json"]


def test_the_picture_shows_ours_and_the_papers_points(tmp_path, monkeypatch, report):
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


def test_command(tmp_path, monkeypatch, capsys, report):
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
    "of something else": (lambda d: _broken(d / "a", '{"clean": 1}'), "is not a whole report"),
    "a list": (lambda d: _broken(d / "a", "[]"), "is not a report"),
    "no measurement": (
        lambda d: _broken(d / "a", '{"format": 2, "measurements": []}'),
        "is not a whole report: KeyError('method'",
    ),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_mistakes_are_one_line(case, tmp_path, monkeypatch, capsys):
    make, words = MISTAKES[case]
    status, captured = command(monkeypatch, capsys, make(tmp_path), "--output", "/proc/nowhere")
    assert status == 2
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
    assert words in captured.err


def test_an_output_that_cannot_be_written_is_one_line(tmp_path, monkeypatch, capsys, report):
    place = report(tmp_path / "a").parent
    status, captured = command(monkeypatch, capsys, place, "--output", "/proc/nowhere")
    assert (status, captured.err.count("\n")) == (2, 1)
    assert "--output" in captured.err


def test_reports_of_the_first_format_are_merged(tmp_path):
    file = FIRST_FORMAT[0]
    held = json.loads(file.read_text())
    (written, *_) = merge([str(file)], tmp_path, quiet=True)
    text = written.read_text()
    assert f"{100 * held['clean']:.2f}" in text
    assert all(f"{100 * attack['accuracy']:.2f}" in text for attack in held["attacks"])
    assert " PGD-20 at 8/255 |" in text


def test_every_measurement_has_a_column(tmp_path, report):
    entry = read_entry(report(tmp_path, attacks=[("fog", None, 0.4321), ("PGD-20", 8, 0.3)]))
    assert columns([entry]) == ["clean", "fog", "PGD-20 at 8/255"]
    assert "43.21" in merge([entry], tmp_path, quiet=True)[0].read_text()
