"""A report's files are complete or absent, and all of them say the same."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from solo_adv.adversaries import Ball
from solo_adv.evaluation import RobustSettings
from solo_adv.report.examples import Examples
from solo_adv.report.record import Report
from solo_adv.report.writing import write_report, written_files
from solo_adv.support.errors import UserError
from tests.report.reports import make_report, measurement

HEAD = {"weight": torch.ones(2, 3), "bias": torch.zeros(2)}
EXAMPLES = Examples(
    clean=torch.full((2, 3, 4, 4), 0.5),
    attacked=torch.full((2, 3, 4, 4), 0.53),
    ball=Ball("linf", 8 / 255),
    truth=["no", "yes"],
    before=["no", "yes"],
    after=["no", "no"],
)


def test_all_files_are_written_and_found(tmp_path):
    report = make_report(pretrain_config={})
    directory = tmp_path / "new" / "folder"
    written = write_report(report, directory, examples=EXAMPLES, head=HEAD)
    assert {kind: path.name for kind, path in written.items()} == {
        "head": "head.safetensors",
        "html": "report.html",
        "png": "report.png",
        "md": "report.md",
        "json": "report.json",
    }
    assert written_files(directory) == written
    assert Report.read(written["json"]) == report
    assert load_file(written["head"])["weight"].equal(HEAD["weight"])
    assert "head" not in write_report(report, tmp_path)


def test_markdown_shows_the_figures_of_the_json(tmp_path):
    text = write_report(make_report(alarms=["something is wrong"]), tmp_path)["md"].read_text()
    for row in (
        "| clean | 70.00 | 67.09 to 72.76 |",
        "| clean, top-5 | 91.00 | 89.07 to 92.62 |",
        "| PGD-20 at 4/255 | 45.00 | 41.94 to 48.10 |",
        "| PGD-20 at 8/255 | 20.00 | 17.64 to 22.59 |",
        "| kNN | 51.20 | 48.10 to 54.29 |",
        "| chance (2 classes) | 50.00 |",
        "> **ALARM** something is wrong",
        "Note on PGD-20 at 8/255: too weak",
        "kNN: the 20 nearest",
        "1,234 crop passes",
    ):
        assert row in text
    assert len(text.splitlines()) < 40


def test_markdown_says_what_was_recognised_of_another_repositorys_checkpoint(tmp_path):
    told = "resnet18 of DeACL: the cifar_padding2 stem"
    report = make_report(pretrain_config={"recognised": told})
    assert f"- Encoder: {told}\n" in write_report(report, tmp_path)["md"].read_text()
    assert "- Encoder:" not in write_report(make_report(), tmp_path)["md"].read_text()


def test_an_unknown_measurement_is_shown(tmp_path):
    report = make_report()
    report.measurements += [measurement("fog", 0.4321), measurement("Square", 0.3, 4)]
    written = write_report(report, tmp_path)
    text = written["md"].read_text()
    assert "| fog | 43.20 |" in text
    assert "| Square at 4/255 | 30.00 |" in text
    assert written["png"].stat().st_size > 10_000


def test_png_is_a_picture_with_and_without_examples(tmp_path):
    sizes = []
    for examples in (EXAMPLES, None):
        data = write_report(make_report(), tmp_path, examples=examples)["png"].read_bytes()
        assert data.startswith(b"\x89PNG\r\n")
        sizes.append(len(data))
    assert sizes[0] > sizes[1] > 10_000


def test_a_report_is_replaced_whole_or_not_at_all(tmp_path, monkeypatch):
    first = write_report(make_report(), tmp_path, head=HEAD)["json"].read_text()

    def full(*_):
        raise OSError(28, "disk full")

    monkeypatch.setattr("pathlib.Path.replace", full)
    with pytest.raises(UserError, match="disk full"):
        write_report(make_report(method="other"), tmp_path)
    assert (tmp_path / "report.json").read_text() == first
    files = {"head.safetensors", "report.html", "report.json", "report.md", "report.png"}
    assert {p.name for p in tmp_path.iterdir()} == files


def test_unwritable_directory(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="Cannot write the report"):
        write_report(make_report(), tmp_path / "file" / "below")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({}, ["L-infinity: the adversary knows all weights and changes every pixel of the image"]),
        ({"protocol": "crops"}, ["each of the 16 resized crops", "no change of the image"]),
        ({"protocol": "crops", "space": "image", "num_crops": 3}, ["from which the 3 crops"]),
        ({"finetune": "adversarial"}, ["Fine-tuning: encoder and head together", "10 epochs"]),
    ],
)
def test_the_threat_model_is_in_words(tmp_path, change, words):
    report = make_report(replace(RobustSettings(), **change))
    text = write_report(report, tmp_path)["md"].read_text()
    assert "- Threat model: white-box, end to end" in text
    assert all(word in text for word in words)
