"""The benchmark on a packaged model, its files, and what is refused."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from solo_adv.benchmark import running
from solo_adv.benchmark.record import page
from solo_adv.support.errors import UserError

ROOT = Path(__file__).parents[2]


def config(tmp_path, **changes):
    cfg = OmegaConf.load(ROOT / "solo_adv/conf/benchmark.yaml")
    del cfg.defaults, cfg.hydra
    small = {
        **{"checkpoint": "cfamc_resnet10w16_digits_m3", "results_dir": str(tmp_path)},
        **{"max_images": 30, "alarm_images": 0, "autoattack": False, "recipe": "converged"},
        **{"accelerator": "cpu", "protocols": ["slf"], "corruptions": None},
    }
    for key, value in {**small, **changes}.items():
        OmegaConf.update(cfg, key, value)
    return cfg


def test_figures_are_those_of_the_report_and_are_found_again(tmp_path, capsys):
    benchmark, files = running.run(config(tmp_path))
    held = json.loads(files["json"].read_text())
    (done,) = held["protocols"].values()
    report = json.loads(
        (files["json"].parent / done["report"]).with_name("report.json").read_text()
    )
    found = {m["name"]: m["correct"] / m["total"] for m in report["measurements"]}
    assert done["figures"] == {
        **{"SA": found["clean"], "PGD-20": found["PGD-20"], "kNN": found["kNN"]}
    }
    assert found["clean"] > 0.9
    assert report["config"]["head"]["optimizer"] == "lbfgs"
    assert report["config"]["epsilons"] == [8 / 255]
    assert held["missing"] == []
    assert held["checkpoint"] == "cfamc_resnet10w16_digits_m3"
    text = files["md"].read_text()
    assert f"{100 * found['clean']:.2f} (" in text
    assert "| SLF (linear head, clean) |" in text
    capsys.readouterr()
    again, same = running.run(config(tmp_path))
    assert same == files
    assert again.protocols == benchmark.protocols
    assert "Measured before" in capsys.readouterr().out


def test_corruptions_and_other_norms(tmp_path):
    changes = {"corruptions": "generated", "other_norms.l2": [0.25]}
    benchmark, files = running.run(config(tmp_path, **changes))
    (done,) = benchmark.protocols.values()
    report = json.loads((files["json"].parent / done.report).with_name("report.json").read_text())
    (corrupted,) = (m for m in report["measurements"] if m["name"] == "corruptions")
    assert done.figures["CA"] == corrupted["correct"] / corrupted["total"]
    p = done.figures["CA"]
    assert done.errors["CA"] == pytest.approx(
        (p * (1 - p) / 30) ** 0.5
    )  # of images, not of verdicts
    assert list(done.others) == ["PGD-20 at 0.25 (L2)"]
    text = files["md"].read_text()
    assert re.search(r"CA is the accuracy on corruptions \(1[45], generated\)", text)
    assert f"PGD-20 at 0.25 (L2) (slf): {100 * done.others['PGD-20 at 0.25 (L2)']:.2f}" in text


def test_both_losses_stand_beside_the_usual_figure(tmp_path):
    usual, _ = running.run(config(tmp_path))
    both, files = running.run(config(tmp_path, attack_loss="both"))
    assert both.protocols["slf"].figures == usual.protocols["slf"].figures
    ((label, accuracy),) = both.protocols["slf"].others.items()
    assert label == "PGD-20 (both losses) at 8/255"
    assert accuracy <= usual.protocols["slf"].figures["PGD-20"]
    assert f"- {label} (slf): {100 * accuracy:.2f}" in files["md"].read_text()


def test_what_is_done_is_written_before_the_next_protocol(tmp_path, monkeypatch):
    evaluate = running.evaluate

    def killed(cfg):
        if cfg.linear == "robust":
            raise KeyboardInterrupt
        return evaluate(cfg)

    monkeypatch.setattr(running, "evaluate", killed)
    with pytest.raises(KeyboardInterrupt):
        running.run(config(tmp_path, protocols=["slf", "alf"]))
    (file,) = tmp_path.rglob("benchmark.json")
    held = json.loads(file.read_text())
    assert list(held["protocols"]) == ["slf"]
    assert held["missing"] == ["alf"]
    assert "not done yet" in file.with_name("benchmark.md").read_text()


def test_the_user_has_the_last_word(tmp_path, monkeypatch):
    asked = []
    evaluate = running.evaluate
    monkeypatch.setattr(running, "evaluate", lambda cfg: asked.append(cfg) or evaluate(cfg))
    running.run(config(tmp_path, features="hidden", seed=9, norm="l2"))
    (cfg,) = asked
    assert (cfg.features, cfg.seed, cfg.norm, cfg.epsilons) == ("hidden", 9, "l2", [0.5])
    assert "step_size" not in cfg


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"checkpoint": None}, "checkpoint=PATH is missing"),
        ({"checkpoint": "no_such_model"}, "no_such_model"),
        ({"protocols": []}, "protocols is empty"),
        ({"protocols": ["slf", "sfl"]}, "Did you mean|slf, alf, aff"),
        ({"recipe": "best"}, "recipe"),
        ({"norm": "l1"}, "norm"),
        ({"max_images": 0}, "max_images"),
    ],
)
def test_wrong_input_is_refused(tmp_path, changes, said):
    with pytest.raises(UserError, match=said):
        running.run(config(tmp_path, **changes))


@pytest.mark.slow
def test_the_command_answers_a_mistake_in_one_line(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "solo_adv.benchmark", "checkpoint=no_such_model"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "no_such_model" in done.stderr


def test_alarms_and_notes_reach_the_page(tmp_path):
    benchmark, _ = running.run(config(tmp_path))
    done = benchmark.protocols["slf"]
    benchmark.protocols["slf"] = type(done)(
        **{**vars(done), "alarms": ("too good",), "notes": ("clean: look",)}
    )
    text = page(benchmark)
    assert "**Alarm** (slf): too good" in text
    assert "Note (slf): clean: look" in text
