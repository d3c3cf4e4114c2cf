"""The launch scripts have the right rows and run the right commands."""

import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from solo_adv.reproduce.plan import Request, plan
from solo_adv.reproduce.rows import ROWS

SCRIPTS = Path(__file__).parents[2] / "scripts"
LINES = (SCRIPTS / "rows.txt").read_text().splitlines()
PATIENCE = 60  # seconds


def test_the_list_of_rows_is_current():
    planned = [f"{job.row.name} {job.dataset}" for job in plan(Request())]
    remedy = "run: python -m solo_adv.reproduce --list > scripts/rows.txt"
    assert planned == LINES, remedy
    assert {line.split()[0] for line in LINES} == set(ROWS)


def test_the_array_has_the_rows_of_the_papers_tables():
    text = (SCRIPTS / "slurm_array.sh").read_text()
    count = len(plan(Request(tables=["all"])))
    assert [line.split()[0] for line in LINES[:count]] == [
        job.row.name for job in plan(Request(tables=["all"]))
    ]
    assert re.findall(r"--array=(\S+)", text) == [
        f"{count}-{len(LINES) - 1}",
        f"0-{count - 1}",
    ]


@pytest.fixture
def folder(tmp_path):
    """A folder with a copy of the scripts and a stand-in for Python that notes its arguments."""
    shutil.copytree(SCRIPTS, tmp_path / "scripts")
    write(tmp_path / "python", f'printf "%s\\n" "$@" > {tmp_path}/called')
    return tmp_path


def write(path, script):
    path.write_text(f"#!/bin/bash\n{script}\n")
    path.chmod(0o755)


def start(folder, script, *words, **environment):
    path = f"{folder}:{os.environ['PATH']}"
    return subprocess.Popen(
        ["bash", f"scripts/{script}", *words],
        cwd=folder,
        env={"PATH": path, **environment},
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(run):
    said = run.communicate(timeout=PATIENCE)[1]
    return run.returncode, said


def test_a_row_is_run_by_its_number(folder):
    assert finish(start(folder, "run_row.sh", "50", "--scale", "tiny", "seed=6"))[0] == 0
    row, dataset = LINES[50].split()
    words = ["-m", "solo_adv.reproduce", "--row", row, "--dataset", dataset]
    expected = [*words, "--scale", "tiny", "seed=6"]
    assert (folder / "called").read_text().splitlines() == expected


@pytest.mark.parametrize("number", [[], ["76"]])
def test_an_unknown_number_of_a_row_is_refused(folder, number):
    status, said = finish(start(folder, "run_row.sh", *number))
    assert status != 0
    assert "scripts/rows.txt" in said
    assert not (folder / "called").exists()


def test_a_job_of_the_array_runs_its_row_and_returns_its_status(folder):
    write(folder / "python", f'printf "%s\\n" "$@" > {folder}/called; exit 3')
    assert finish(start(folder, "slurm_array.sh", "devices=4", SLURM_ARRAY_TASK_ID="1"))[0] == 3
    row, dataset = LINES[1].split()
    words = ["-m", "solo_adv.reproduce", "--row", row, "--dataset", dataset, "devices=4"]
    assert (folder / "called").read_text().splitlines() == words


@pytest.mark.parametrize("sent", [signal.SIGUSR1, signal.SIGTERM], ids=lambda sent: sent.name)
def test_a_stopped_job_of_the_array_is_queued_again(folder, sent):
    name = sent.name.removeprefix("SIG")
    trap = f"trap 'sleep 0.5; echo {name} > {folder}/got; exit 75' {name}"
    write(folder / "python", f"{trap}\ntouch {folder}/called\nsleep 60 & wait")
    write(folder / "scontrol", f'echo "$@" > {folder}/queued')
    run = start(folder, "slurm_array.sh", SLURM_ARRAY_TASK_ID="1", SLURM_JOB_ID="77")
    end = time.monotonic() + PATIENCE
    while not (folder / "called").exists():
        assert time.monotonic() < end
        time.sleep(0.02)
    run.send_signal(sent)
    assert run.wait(timeout=PATIENCE) == 75
    assert (folder / "got").read_text() == f"{name}\n"
    assert (folder / "queued").read_text() == "requeue 77\n"
