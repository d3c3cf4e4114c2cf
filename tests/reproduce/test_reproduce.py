"""Rows, plans, costs, commands and scripts of the reproduction; one tiny row end to end (slow)."""

import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from solo_adv.cost import evaluation_passes, measured_throughput, passes_of_batch
from solo_adv.paper import MODELS, model_of
from solo_adv.paper import TABLES as PRINTED
from solo_adv.reproduce import __main__ as command_line
from solo_adv.reproduce import run as running
from solo_adv.reproduce.commands import commands, scripts
from solo_adv.reproduce.plan import Job, Request, composed, plan, tiny_epochs
from solo_adv.reproduce.rows import EVALUATIONS, PAPER_TABLES, ROWS, TABLES
from solo_adv.reproduce.run import execute
from solo_adv.support.errors import UserError
from solo_adv.support.settings import plain
from solo_adv.training.config import parse_cfg
from solo_adv.training.runs import Run, find_finished

SCRIPTS = Path(__file__).parents[2] / "scripts"


def job(row, dataset="cifar10", evaluations=("standard",), **settings):
    judged_by = tuple(EVALUATIONS[name] for name in evaluations)
    return Job(row=ROWS[row], dataset=dataset, evaluations=judged_by, **settings)


# ------------------------------------------------------------------ rows


@pytest.mark.parametrize("name", PAPER_TABLES)
def test_a_table_has_the_papers_rows_and_data_sets(name):
    printed = {(f.row, f.dataset) for f in PRINTED[name].figures if f.dataset}
    assert {(line.row, dataset) for line in TABLES[name] for dataset in line.datasets} == printed


@pytest.mark.parametrize("row", MODELS)
def test_a_rows_config_trains_the_papers_model(row):
    assert model_of(plain(job(row).complete_config())) == row


def test_the_papers_unnamed_rows_are_none_of_its_models():
    others = [row for row in ROWS if row not in MODELS]
    assert len(others) > 10
    taken = {row: model_of(plain(job(row).complete_config())) for row in others}
    # Another reading of the same printed row.
    assert {row for row, model in taken.items() if model} == {
        "cfamc_m3_step_epsilon",
        "robust_simclr_cross",
        "robust_simclr_both",
        "robust_simclr_patch_half",
        "robust_simclr_patch_three_quarters",
        "supervised_freeadv_m3_sup_con",
        "supervised_freeadv_m7_sup_con",
    }


def test_evaluations_are_what_the_tables_measure():
    by = {name: {e for line in lines for e in line.evaluations} for name, lines in TABLES.items()}
    assert by["table2"] == {"standard", "crops32", "crops64"}
    assert by["table4"] == {"standard", "robust"}
    assert by["table6"] == {"autoattack"}
    settings = {e: composed("robust", EVALUATIONS[e].overrides) for e in EVALUATIONS}
    assert settings["crops64"].protocol == "crops"
    assert settings["crops64"].num_crops == 64
    assert settings["autoattack"].autoattack
    assert settings["autoattack"].linear == settings["robust"].linear == "robust"


# ------------------------------------------------------------------ plans


def test_rows_of_several_tables_run_once_with_all_their_evaluations():
    jobs = {j.name: j for j in plan(Request(tables=["all"], datasets=["cifar10"]))}
    assert len(jobs) == 19
    assert [e.name for e in jobs["cfamc_m3-cifar10"].evaluations] == ["standard", "autoattack"]
    assert [e.name for e in jobs["cfamc_m12-cifar10"].evaluations] == ["standard", "robust"]


def test_tiny_runs_every_row_once_on_digits():
    jobs = plan(Request(tables=["all"], scale="tiny"))
    assert {j.name for j in jobs} == {f"{row}-digits" for row in MODELS}
    assert all(plain(j.config().data)["dataset"] == "digits" for j in jobs)


def test_tiny_keeps_what_sets_rows_apart():
    seen = {}
    for planned in plan(Request(tables=["all"], scale="tiny")):
        cfg, full = planned.config(), job(planned.row.name).config()
        assert cfg.method == full.method
        assert plain(cfg.adversary) == plain(full.adversary)
        assert plain(cfg.crops.scale) == plain(full.crops.scale)
        assert cfg.backbone.name == full.backbone.name
        crops, kept = full.crops.num_crops, cfg.crops.num_crops
        assert kept == crops if crops <= 2 else 2 <= kept < crops
        del cfg.name, cfg.checkpoint
        seen[planned.row.name] = json.dumps(plain(cfg), sort_keys=True)
    assert len(set(seen.values())) == len(seen)


def test_tiny_epochs_keep_their_order():
    assert [tiny_epochs(e) for e in (6, 10, 18, 30)] == [1, 2, 4, 6]
    assert [tiny_epochs(e) for e in (100, 167, 300, 500)] == [2, 3, 6, 10]


def test_preset_and_further_settings_reach_the_config():
    request = {"tables": ["table4"], "rows": ["cfamc_m3"], "datasets": ["cifar10"]}
    (planned,) = plan(Request(**request, preset="reference", extra=("seed=7",)))
    cfg = planned.complete_config()
    assert planned.name == "cfamc_m3-cifar10-reference"
    assert cfg.seed == 7
    assert cfg.scheduler.name == "reference_cyclic"
    assert cfg.adversary.clamp_before_forward is False


def test_data_paths_by_data_set_and_for_all():
    paths = {"cifar10": "/ten", "": "/all"}
    jobs = plan(
        Request(tables=["table4"], rows=["cfamc_m5"], data_paths=paths, data_format="parquet")
    )
    data = {j.dataset: plain(j.config().data) for j in jobs}
    assert {d: held["train_path"] for d, held in data.items()} == {
        "cifar10": "/ten",
        "cifar100": "/all",
        "imagenet100": "/all",
    }
    assert {held["format"] for held in data.values()} == {"parquet"}


# ------------------------------------------------------------------ costs

PASSES_AN_IMAGE = {
    # as the audit of the reference code counts them
    "robust_emp_crop": 16 * (5 + 1) * 30,
    "cfamc_m3": 480,
    "cfamc_m5": 480,
    "cfamc_m5_18ep": 1440,
    "cfamc_m12": 1920,
    "simclr_freeadv_m3": 1002,
    "supervised_freeadv_m3": 900,
    "supervised_freeadv_m7": 2100,
    # 12 a batch in the reference code, whose attack repeats and back-propagates the constant view
    "robust_simclr_cross": (5 + 2) * 500,  # the clean view passes once, and apart
    "robust_simclr_crop": (1 * 5 + 2) * 500,
}
UPDATES = {
    "cfamc_m3": 15_000,
    "cfamc_m5": 15_000,
    "cfamc_m5_18ep": 45_000,
    "cfamc_m12": 60_000,
    "cfamc_m7_resnet50": 31_500,
    "simclr_freeadv_m3": 48_597,
    "simclr_freeadv_m5": 48_500,
    "simclr_freeadv_m3_resnet50": 43_650,
    "simclr_freeadv_m7_resnet50": 101_850,
    "supervised_freeadv_m3": 87_300,
    "supervised_freeadv_m7": 203_700,
    "robust_simclr_crop": 48_500,
}


@pytest.mark.parametrize("row", PASSES_AN_IMAGE)
def test_crop_passes_of_an_image(row):
    assert job(row).cost().per_image == PASSES_AN_IMAGE[row]


@pytest.mark.parametrize("row", UPDATES)
def test_optimizer_updates(row):
    assert job(row).cost().updates == UPDATES[row]


def test_crop_passes_of_a_run_leave_out_the_last_incomplete_batch():
    assert job("cfamc_m3").cost().pretraining == 24_000_000
    assert job("simclr_freeadv_m3").cost().pretraining == 97 * 512 * 6 * 167


def test_attacking_one_view_of_two():
    cfg = job("robust_simclr_crop").complete_config()
    assert passes_of_batch(cfg) == 2 + 5
    cfg.adversary.views = "both"
    assert passes_of_batch(cfg) == 2 + 2 * 5
    cfg.adversary.pair = "cross"
    cfg.adversary.views = "second"
    assert passes_of_batch(cfg) == 2 + 5
    cfg.adversary.forward = "joint"
    assert passes_of_batch(cfg) == 2 + 2 * 5


def test_passes_of_an_evaluation():
    def passes(*overrides):
        return evaluation_passes(50_000, 10_000, composed("robust", overrides))

    attacks, features = 10_000 * 20 * 3, 60_000 / 3
    assert passes() == attacks + features
    assert passes("restarts=2") == 2 * attacks + features
    assert passes("linear=robust") == attacks + features + round(50_000 * 20 * (5 + 1 / 3))
    assert passes("protocol=crops", "num_crops=32") == 32 * (attacks + features)
    assert passes("max_images=100", "epsilons=[8/255]") == 100 * 20 + round(50_100 / 3)


def test_other_networks_cost_in_proportion_to_their_arithmetic():
    small, large = job("cfamc_m3", evaluations=()).cost(), job("cfamc_m3_resnet50").cost()
    assert small.relative == 1
    assert 2 < large.relative < 3
    assert small.seconds(1000) == pytest.approx(24_000)


# ------------------------------------------------------------------ commands and scripts


def test_a_printed_command_is_the_planned_run():
    planned = job("robust_emp_patch_half", evaluations=("robust", "crops32"))
    pretraining, *evaluations = commands(planned)
    program, script, flag, name, *overrides = shlex.split(pretraining)
    assert (program, script, flag) == ("python", "main_pretrain.py", "--config-name")
    assert plain(composed(name, overrides)) == plain(planned.config())
    assert [shlex.split(line)[-1] for line in evaluations] == [
        "results_dir=reproduce/results/robust_emp_patch_half-cifar10/robust",
        "results_dir=reproduce/results/robust_emp_patch_half-cifar10/crops32",
    ]


def test_the_checkpoint_that_a_command_looks_up_is_the_last_one(tmp_path):
    planned = job("cfamc_m3", directory=tmp_path / "my runs")
    run = planned.checkpoints / "cfamc" / "offline-1"
    run.mkdir(parents=True)
    for epoch in (1, 9, 19):
        (run / f"cfamc_m3-cifar10-offline-1-ep={epoch}.ckpt").touch()
    line = commands(planned)[1].replace("python main_robust.py", "echo")
    found = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=True).stdout
    assert found.startswith(f"checkpoint='{run}/cfamc_m3-cifar10-offline-1-ep=9.ckpt' linear")


def test_the_scripts_in_the_repository_are_current():
    expected = scripts()
    assert {path.name for path in SCRIPTS.iterdir()} == set(expected)
    stale = [name for name, text in expected.items() if (SCRIPTS / name).read_text() != text]
    assert not stale, "run: python -m solo_adv.reproduce --write-scripts scripts"


def test_every_job_has_a_script_and_every_script_is_valid_shell():
    for listing in ("jobs_tables.txt", "jobs_ablations.txt"):
        for line in scripts()[listing].splitlines():
            row, dataset = line.split()
            assert dataset in scripts()[f"{row}.sh"].split("bash scripts/")[1].splitlines()[0]
    for path in SCRIPTS.glob("*.sh"):
        subprocess.run(["bash", "-n", path], check=True)


def test_a_script_trains_once_and_judges_by_its_tables(tmp_path):
    """With a stand-in for Python that notes its arguments and leaves a checkpoint."""
    folder = tmp_path / "scripts"
    folder.mkdir()
    (folder / "cfamc_m5.sh").write_text(scripts()["cfamc_m5.sh"])
    log, python = tmp_path / "log", tmp_path / "python"
    place = "reproduce/trained_models/cfamc_m5-$SET/cfamc/v"
    python.write_text(
        f'#!/bin/bash\necho "$@" >> {log}\nif [ $1 = main_pretrain.py ]; then\n'
        f'  mkdir -p "{place}"; touch "{place}/x-ep=5.ckpt"\nfi\n'
    )
    python.chmod(0o755)

    def run(dataset):
        log.write_text("")
        environment = {"PATH": "/usr/bin:/bin", "PYTHON": str(python), "SET": dataset}
        words = ["bash", folder / "cfamc_m5.sh", dataset, "seed=6"]
        subprocess.run(words, env=environment, check=True, capture_output=True)
        return log.read_text().splitlines()

    first = run("cifar10")
    assert [line.split()[0] for line in first] == ["main_pretrain.py"] + ["main_robust.py"] * 2
    assert first[0].split()[3:] == [*_of_script("cfamc_m5", "cifar10"), "seed=6"]
    assert "autoattack=true" in first[2]
    assert "checkpoint='reproduce/trained_models/cfamc_m5-cifar10/cfamc/v/x-ep=5.ckpt'" in first[2]
    assert [line.split()[0] for line in run("cifar10")] == ["main_robust.py"] * 2
    assert not any("autoattack" in line for line in run("imagenet100"))


def _of_script(row, dataset):
    return job(row, dataset).pretraining


# ------------------------------------------------------------------ running


def fake_run(cfg, *, epoch, version="offline-1", **changes):
    """What a finished or interrupted run leaves, without training."""
    cfg = parse_cfg(cfg)
    cfg.data.num_classes = 10
    for key, value in changes.items():
        cfg[key] = value
    run = Run(cfg, version=version)
    run.create()
    run.checkpoint_path(epoch).touch()
    return run.checkpoint_path(epoch)


def test_a_finished_run_of_the_same_config_is_found_and_no_other(tmp_path):
    planned = job("cfamc_m5", scale="tiny", directory=tmp_path)
    other = job("cfamc_m5", scale="tiny", directory=tmp_path, extra=("seed=9",))
    last = planned.config().max_epochs - 1
    assert find_finished(parse_cfg(planned.config())) is None
    fake_run(planned.config(), epoch=last - 1)
    assert find_finished(parse_cfg(planned.config())) is None
    done = fake_run(planned.config(), epoch=last, version="offline-2")
    assert find_finished(parse_cfg(planned.config())) == done
    assert find_finished(parse_cfg(other.config())) is None


@pytest.fixture
def fakes(monkeypatch):
    """Pretraining and evaluation that only leave their files; the list of what was called."""
    called = []

    def pretrain(cfg):
        called.append(f"pretrain {cfg.name}")
        if "broken" in str(cfg.name):
            raise UserError("lost")
        return fake_run(cfg, epoch=cfg.max_epochs - 1)

    def evaluate(cfg):
        called.append(f"evaluate {cfg.linear}")
        return None, {"json": Path(cfg.results_dir) / "report.json"}

    monkeypatch.setattr(running, "pretrain", pretrain)
    monkeypatch.setattr(running, "evaluate", evaluate)
    monkeypatch.setattr(running, "merge", lambda reports, directory: list(reports))
    return called


def test_a_finished_run_is_not_repeated_and_its_reports_are_asked_for(tmp_path, fakes):
    few = [job("cfamc_m5", scale="tiny", directory=tmp_path)]
    more = [job("cfamc_m5", evaluations=("standard", "robust"), scale="tiny", directory=tmp_path)]
    (report,) = execute(few)
    assert fakes == ["pretrain cfamc_m5-digits", "evaluate standard"]
    # evaluate finds what is measured by itself: tests/evaluation/test_evaluating.py
    assert execute(more)[0] == report
    assert fakes[2:] == ["evaluate standard", "evaluate robust"]


def test_a_failing_row_leaves_the_others_running_and_is_named(tmp_path, fakes):
    broken = job("cfamc_m5", scale="tiny", preset=None, directory=tmp_path, extra=())
    broken = Job(**{**vars(broken), "row": _renamed(broken.row, "broken")})
    sound = job("cfamc_m3", scale="tiny", directory=tmp_path)
    with pytest.raises(UserError, match=r"1 of 2 runs failed \(broken-digits\).*lost"):
        execute([broken, sound])
    assert "pretrain cfamc_m3-digits" in fakes


def _renamed(row, name):
    return type(row)(**{**vars(row), "name": name})


def test_a_setting_that_cannot_be_is_refused_before_anything_runs(tmp_path, fakes):
    sound = job("cfamc_m3", scale="tiny", directory=tmp_path)
    wrong = job("cfamc_m5", scale="tiny", directory=tmp_path, preset="refrence")
    with pytest.raises(UserError, match="reference"):
        execute([sound, wrong])
    assert fakes == []


def test_several_devices_are_refused(tmp_path):
    planned = job("cfamc_m5", scale="tiny", directory=tmp_path, extra=("devices=2",))
    with pytest.raises(UserError, match="one process"):
        running.run(planned)


# ------------------------------------------------------------------ command line


def command(monkeypatch, capsys, *arguments):
    monkeypatch.setattr(sys, "argv", ["reproduce", *map(str, arguments)])
    monkeypatch.setenv("COLUMNS", "150")
    try:
        command_line.main()
    except SystemExit as stop:
        return stop.code, capsys.readouterr()
    return 0, capsys.readouterr()


def test_dry_run_prints_commands_and_cost_and_runs_nothing(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    words = ("table4", "--row", "cfamc_m5", "--dataset", "cifar10", "--dry-run")
    status, captured = command(monkeypatch, capsys, *words, "--throughput", 10_000)
    assert status == 0
    assert captured.out.count("python main_pretrain.py") == 1
    assert captured.out.count("python main_robust.py") == 2
    assert "24.00 M" in captured.out
    assert "51.0 min" in captured.out  # (24 + 6.6) M at 10,000 a second
    assert not list(tmp_path.iterdir())


def test_without_a_throughput_it_is_measured(monkeypatch, capsys):
    monkeypatch.setattr(command_line, "measured_throughput", lambda: 30.0)
    words = ("table4", "--row", "cfamc_m5", "--dataset", "cifar10", "--dry-run")
    _, captured = command(monkeypatch, capsys, *words)
    assert "30 passes a second" in captured.out
    assert "measured here" in captured.out


def test_measured_throughput_is_a_rate():
    assert 0 < measured_throughput(seconds=0.0) < 1e6


MISTAKES = {
    "no table": ((), "Accepted: table1"),
    "unknown table": (("table7",), "table6"),
    "two tables": (("table1", "table2"), "one table"),
    "unknown row": (("table4", "--row", "cfamc_m6"), "cfamc_m5"),
    "row of another table": (("table2", "--row", "cfamc_m5"), "emp_ssl"),
    "unknown data set": (("table4", "--dataset", "cifar"), "cifar10"),
    "nothing left": (("table2", "--dataset", "imagenet100"), "No row"),
    "unknown scale": (("table4", "--scale", "small"), "tiny"),
    "unknown preset": (("table4", "--preset", "refrence", "--dry-run"), "reference"),
    "unknown setting": (("table4", "optimiser.lr=1", "--dry-run"), "optimiser"),
    "throughput": (("table4", "--throughput", "0", "--dry-run"), "above 0"),
    "data path": (("table4", "--data-path", "svhn=/d", "--dry-run"), "cifar10"),
    "unwritable": (("--write-scripts", "/proc/x"), "--write-scripts"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_mistakes_are_one_line(case, monkeypatch, capsys):
    arguments, words = MISTAKES[case]
    status, captured = command(monkeypatch, capsys, *arguments)
    assert status == 2
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
    assert words in captured.err


# ------------------------------------------------------------------ end to end


@pytest.mark.slow
def test_a_tiny_row_end_to_end(tmp_path, monkeypatch, capsys):
    """Pretraining, both heads, the merged report; again, nothing is repeated."""
    words = ("table1", "--row", "robust_simclr_crop", "--scale", "tiny", "--directory", tmp_path)
    status, captured = command(monkeypatch, capsys, *words)
    assert status == 0, captured.err
    (planned,) = plan(Request(tables=["table1"], rows=["robust_simclr_crop"], scale="tiny"))
    planned = Job(**{**vars(planned), "directory": tmp_path})
    held = json.loads((tmp_path / "merged.json").read_text())["reports"]
    assert [entry["linear"] for entry in held] == ["robust", "standard"]
    assert {entry["crop_passes"] for entry in held} == {planned.cost().pretraining}
    assert {entry["model"] for entry in held} == {"robust_simclr_crop-digits"}
    assert not any(entry["alarms"] for entry in held)
    assert (tmp_path / "merged.png").stat().st_size > 10_000

    written = {path: path.stat().st_mtime for path in tmp_path.rglob("report.json")}
    checkpoints = list(tmp_path.rglob("*.ckpt"))
    status, captured = command(monkeypatch, capsys, *words)
    assert status == 0, captured.err
    assert {path: path.stat().st_mtime for path in tmp_path.rglob("report.json")} == written
    assert list(tmp_path.rglob("*.ckpt")) == checkpoints
