"""``python -m solo_adv.zoo``: every command and its error messages."""

import re
from functools import partial
from types import SimpleNamespace

import pytest

from solo_adv.catalogue import index
from solo_adv.report.measurement import Measurement
from solo_adv.zoo.export import hf
from tests.published import NAME


@pytest.fixture
def run(command):
    """Runs a command and returns its exit status, standard output and standard error."""
    return partial(command, "zoo.__main__")


def test_publish_then_everything_else(run, trained, tmp_path, monkeypatch):
    zoo = tmp_path / "zoo"
    status, output, error = run(
        *("publish", trained.checkpoint.parent, "--name", NAME, "--zoo", zoo),
        *(
            "--reports",
            trained.reports,
            "--summary",
            "A tiny encoder of the tests.",
            "--minutes",
            1,
        ),
    )
    assert (status, error) == (0, "")
    assert output.strip() == str(zoo / "models" / NAME)
    monkeypatch.setenv("SOLO_ADV_ZOO_URL", str(zoo))

    status, output, error = run("extend", NAME, "--zoo", zoo, "--reports", trained.reports)
    assert (status, output.strip()) == (0, str(zoo / "models" / NAME))
    assert error.count("Replaced: ") == 2

    assert f"{NAME}: A tiny encoder of the tests." in run("list", "--dataset", "digits")[1]
    assert run("list", "--dataset", "nothing")[1] == "No such model.\n"
    assert "## Limits" in run("info", NAME)[1]
    assert len(run("download", NAME)[1].splitlines()) == 5
    assert f"{NAME} robust_linear: ok" in run("verify", NAME)[1]
    status, output, _ = run("evaluate", NAME, "--max-images", 30, "--data", "num_workers=0")
    assert status == 0
    assert output.count("holds") == 10
    out = tmp_path / "exported"
    assert str(out / "model.safetensors") in run("export", NAME, "--to", "timm", "--output", out)[1]

    (zoo / "models" / NAME / "linear.safetensors").write_bytes(b"damaged")
    status, output, error = run("verify", NAME)
    assert status == 2
    assert f"{NAME} linear: missing or damaged" in output
    assert error.startswith("error: Missing or damaged")


def test_exit_status_is_1_if_a_figure_does_not_hold(run, zoo, monkeypatch):
    monkeypatch.setattr("solo_adv.zoo.remeasuring.DEVIATIONS", 0.0)
    monkeypatch.setattr("solo_adv.zoo.remeasuring.evaluate_robustness", _wrong)
    status, output, _ = run("evaluate", NAME)
    assert status == 1
    assert re.search(r"clean: published .*, measured 0\.00% \(allowed ± 0\.10%\): DIFFERS", output)


def _wrong(*_, **__):
    clean = Measurement(name="clean", correct=0, total=1000)
    return SimpleNamespace(report=SimpleNamespace(by_label={"clean": clean}))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["info", "nobody"], "Unknown zoo model 'nobody'"),
        (["evaluate", NAME, "--data", "train_path"], "KEY=VALUE"),
        (["export", NAME, "--to", "timm", "--push", "a/b"], "--push is for --to hf"),
        (["publish", "nothing", "--name", "x", "--summary", "y"], "No checkpoint at nothing"),
    ],
)
def test_a_mistake_is_one_line(run, zoo, tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    status, _, error = run(*arguments)
    assert status == 2
    assert words in error
    assert error.count("\n") == 1


def test_the_markdown_table_lists_the_packaged_models(run, zoo):
    output = run("list", "--markdown")[1]
    assert all(f"## `{name}`" in output for name in index.packaged())
    assert NAME not in output


def test_a_folder_is_uploaded_only_with_push(run, zoo, tmp_path, monkeypatch):
    pushed = []
    monkeypatch.setattr(hf, "push", lambda folder, repository: pushed.append((folder, repository)))
    run("export", NAME, "--to", "hf", "--output", tmp_path / "one")
    assert pushed == []
    run("export", NAME, "--to", "hf", "--output", tmp_path / "two", "--push", "me/it")
    assert pushed == [(tmp_path / "two", "me/it")]
