"""Jobs run as child processes of a stand-in for Python; the slow tests at the end run real ones."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest

from solo_adv.reproduce import run as running
from solo_adv.reproduce.commands import judging, line, printed
from solo_adv.reproduce.plan import Request, plan
from solo_adv.reproduce.run import execute, finished, remaining
from solo_adv.reproduce.scales import Tiny
from solo_adv.support.errors import RunStopped, UserError
from tests.reproduce.jobs import job, leave_run

PATIENCE = 300  # seconds
pytestmark = pytest.mark.usefixtures("heeding_signals")


@pytest.fixture(autouse=True)
def no_merging(request, monkeypatch):
    if "slow" not in request.keywords:
        monkeypatch.setattr(running, "merge", lambda reports, directory: list(reports))


def steps(stand_in):
    """The names of the runs and evaluations that were started, in order."""
    found = []
    for words in stand_in.calls:
        keys = {key: value for key, _, value in (word.partition("=") for word in words)}
        found.append(keys.get("name") or keys["results_dir"].rpartition("/")[2])
    return found


def test_a_finished_run_is_the_one_of_the_same_config(tmp_path):
    planned = job("cfamc_m5", scale=Tiny(), directory=tmp_path)
    other = replace(planned, extra=("seed=9",))
    last = planned.config().max_epochs - 1
    assert finished(planned) is None
    leave_run(planned.config(), epoch=last - 1)
    assert finished(planned) is None
    done = leave_run(planned.config(), epoch=last, version="offline-2")
    assert finished(planned) == done
    assert finished(other) is None


@pytest.mark.parametrize("devices", ["1", "2", "auto"])
def test_what_is_printed_is_what_runs(tmp_path, stand_in, devices):
    planned = job(
        "robust_emp_patch_half",
        evaluations=("robust", "crops32"),
        scale=Tiny(),
        directory=tmp_path / "my runs",
        extra=(f"devices={devices}", "accelerator=cpu"),
    )
    stand_in.trains(planned)
    first, lookup, *others = printed(planned, None)
    execute([planned])
    checkpoint = finished(planned)
    assert lookup.startswith("CHECKPOINT=$(")
    filled = [text.replace("$CHECKPOINT", str(checkpoint)) for text in others]
    expected = [shlex.split(text)[1:] for text in [first, *filled]]
    assert stand_in.calls == expected
    assert printed(planned, checkpoint) == [
        line(judging(planned, evaluation, checkpoint)) for evaluation in planned.evaluations
    ]


def test_nothing_is_repeated_but_what_is_new_is_done(tmp_path, stand_in):
    few = job("cfamc_m5", scale=Tiny(), directory=tmp_path)
    more = job("cfamc_m5", evaluations=("standard", "robust"), scale=Tiny(), directory=tmp_path)
    stand_in.trains(few)
    assert remaining(few) == few.cost()
    (report,) = execute([few])
    assert steps(stand_in) == ["cfamc_m5-digits", "standard"]
    assert remaining(few).seconds(1) == 0
    assert remaining(more).pretraining == 0
    assert remaining(more).evaluation == more.cost().evaluation - few.cost().evaluation > 0
    assert execute([few]) == [report]
    assert execute([more])[0] == report
    assert steps(stand_in)[2:] == ["robust"]
    report.unlink()
    execute([more])
    assert steps(stand_in)[3:] == ["standard"]


def test_runs_of_other_settings_share_a_directory_and_no_result(tmp_path, stand_in):
    first = job("cfamc_m5", scale=Tiny(), directory=tmp_path)
    leave_run(first.config(), epoch=first.config().max_epochs - 1, version="offline-1")
    second = replace(first, extra=("seed=9",))
    leave_run(second.config(), epoch=second.config().max_epochs - 1, version="offline-2")
    (one,), (other,) = execute([first]), execute([second])
    assert one != other
    assert steps(stand_in) == ["standard", "standard"]


def test_failures_are_named_and_keep_no_other_job_from_running(tmp_path, stand_in, capfd):
    broken, killed, sound = (
        job(row, scale=Tiny(), directory=tmp_path)
        for row in ("cfamc_m5", "simclr_freeadv_m5", "cfamc_m3")
    )
    stand_in.trains(sound)
    stand_in.before.write_text(
        'case "$step" in cfamc_m5-*) echo lost >&2; exit 2 ;; simclr*) kill -KILL $$ ;; esac\n'
    )
    names = r"2 of 3 runs failed \(cfamc_m5-digits, simclr_freeadv_m5-digits\)"
    with pytest.raises(UserError, match=rf"{names}.*exit status 2: .*cfamc_m5-digits"):
        execute([broken, killed, sound])
    assert steps(stand_in) == [
        *("cfamc_m5-digits", "simclr_freeadv_m5-digits", "cfamc_m3-digits", "standard")
    ]
    said = capfd.readouterr().err
    assert "lost" in said
    assert "ended with SIGKILL" in said


def test_a_failed_evaluation_is_done_again(tmp_path, stand_in):
    planned = job("cfamc_m5", evaluations=("standard", "robust"), scale=Tiny(), directory=tmp_path)
    stand_in.trains(planned)
    stand_in.before.write_text('case "$step" in *standard) exit 1 ;; esac\n')
    with pytest.raises(UserError, match="standard"):
        execute([planned])
    stand_in.before.unlink()
    execute([planned])
    assert steps(stand_in) == ["cfamc_m5-digits", "standard", "standard", "robust"]


def test_a_command_that_leaves_no_last_checkpoint_failed(tmp_path, stand_in):
    planned = job("cfamc_m3", scale=Tiny(), directory=tmp_path)
    stand_in.trains(planned, epochs=1)
    with pytest.raises(UserError, match="no checkpoint of its last epoch"):
        execute([planned])


@pytest.mark.parametrize(
    "name",
    [
        "INT",
        pytest.param("TERM", marks=pytest.mark.slow),
        pytest.param("USR1", marks=pytest.mark.slow),
    ],
)
def test_a_signal_reaches_the_command_and_nothing_more_starts(tmp_path, stand_in, name):
    jobs = [job(row, scale=Tiny(), directory=tmp_path) for row in ("cfamc_m5", "cfamc_m3")]
    for planned in jobs:
        stand_in.trains(planned)
    stand_in.before.write_text(
        f'trap "echo {name} >> {tmp_path}/got; exit 75" {name}\n'
        f"kill -{name} $PPID; sleep 60 & wait\n"
    )
    with pytest.raises(RunStopped, match=f"SIG{name} at cfamc_m5-digits; the same command"):
        execute(jobs)
    assert (tmp_path / "got").read_text().split() == [name]
    assert steps(stand_in) == ["cfamc_m5-digits"]
    stand_in.before.unlink()
    assert len(execute(jobs)) == 2
    assert steps(stand_in)[1:] == ["cfamc_m5-digits", "standard", "cfamc_m3-digits", "standard"]


def test_an_interrupted_evaluation_is_not_noted_as_done(tmp_path, stand_in):
    planned = job("cfamc_m5", scale=Tiny(), directory=tmp_path)
    stand_in.trains(planned)
    stand_in.before.write_text('case "$step" in judging*) kill -TERM $PPID; sleep 60 ;; esac\n')
    with pytest.raises(RunStopped):
        execute([planned])
    stand_in.before.unlink()
    execute([planned])
    assert steps(stand_in) == ["cfamc_m5-digits", "standard", "standard"]


def test_a_command_that_was_told_to_stop_stops_all(tmp_path, stand_in):
    jobs = [job(row, scale=Tiny(), directory=tmp_path) for row in ("cfamc_m5", "cfamc_m3")]
    stand_in.before.write_text("exit 75\n")
    with pytest.raises(RunStopped, match="a signal to the command"):
        execute(jobs)
    assert steps(stand_in) == ["cfamc_m5-digits"]


def test_progress_says_which_job_how_long_and_what_is_left(tmp_path, stand_in, capfd, monkeypatch):
    rows = ("cfamc_m3", "cfamc_m5", "cfamc_m12")  # the first one is already finished
    jobs = [job(row, scale=Tiny(), directory=tmp_path) for row in rows]
    for planned in jobs:
        stand_in.trains(planned)
    execute(jobs[:1])
    capfd.readouterr()
    clock = iter((0, 1, 100, 200, 500, 900))
    monkeypatch.setattr(running, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    execute(jobs)
    lines = capfd.readouterr().err.splitlines()
    assert lines[0] == "[1/3] cfamc_m3-digits"
    assert lines[1] == "cfamc_m3-digits: 1.0 s"
    left = 100 * jobs[2].cost().seconds(1) / jobs[1].cost().seconds(1)
    assert lines[2] == "[2/3] cfamc_m5-digits"
    assert lines[3] == f"cfamc_m5-digits: 1 min 40 s, about {running.duration(left)} left"
    assert lines[4:] == ["[3/3] cfamc_m12-digits", "cfamc_m12-digits: 6 min 40 s"]


REFUSED = {
    "preset": ({"preset": "refrence"}, "reference"),
    "several machines": ({"extra": ("num_nodes=2",)}, "one machine"),
    "no checkpoints": ({"extra": ("checkpoint.enabled=false",)}, "nothing to judge"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_an_impossible_setting_is_refused_before_anything_runs(tmp_path, stand_in, case):
    settings, words = REFUSED[case]
    sound = job("cfamc_m3", scale=Tiny(), directory=tmp_path)
    wrong = job("cfamc_m5", scale=Tiny(), directory=tmp_path, **settings)
    with pytest.raises(UserError, match=words):
        execute([sound, wrong])
    assert stand_in.calls == []


def test_missing_data_fail_their_job_only(tmp_path, stand_in):
    sound = job("cfamc_m3", scale=Tiny(), directory=tmp_path)
    absent = job("cfamc_m5", "imagenet100", directory=tmp_path)
    absent.checkpoints.mkdir(parents=True)
    stand_in.trains(sound)
    with pytest.raises(UserError, match=r"1 of 2 runs failed \(cfamc_m5-imagenet100\)"):
        execute([absent, sound])
    assert steps(stand_in)[-1] == "standard"


def test_a_directory_that_cannot_be_written(stand_in, tmp_path):
    (tmp_path / "file").touch()
    planned = job("cfamc_m3", scale=Tiny(), directory=tmp_path / "file" / "below")
    with pytest.raises(UserError, match="--directory"):
        execute([planned])


# ------------------------------------------------------------------ real commands

TINY = ("data.fraction=0.1", "max_epochs=4", "accelerator=cpu", "checkpoint.minutes=0.001")


def start(directory, *words):
    command = [sys.executable, "-m", "solo_adv.reproduce", "table2", "--row", "simclr"]
    command += ["--scale", "tiny", "--directory", str(directory), *words]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)


@pytest.mark.slow
@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGKILL], ids=lambda sent: sent.name)
def test_a_killed_reproduction_can_be_continued(tmp_path, sent):
    """Two processes train and judge. The second start continues the first one's run."""
    words = (*TINY, "devices=2")
    first = start(tmp_path, *words)
    end = time.monotonic() + PATIENCE
    while not list(tmp_path.rglob("*batch=*.ckpt")) + list(tmp_path.rglob("*ep=0.ckpt")):
        assert time.monotonic() < end
        assert first.poll() is None, first.stderr.read()
        time.sleep(0.05)
    os.kill(first.pid, sent)
    said = first.communicate(timeout=PATIENCE)[1]
    if sent is signal.SIGTERM:
        assert first.returncode == 75, said
        assert "the same command continues" in said
    versions = list(tmp_path.rglob("args.json"))

    again = start(tmp_path, *words)
    said = again.communicate(timeout=PATIENCE)[1]
    assert again.returncode == 0, said
    assert list(tmp_path.rglob("args.json")) == versions
    assert len(list(tmp_path.rglob("report.json"))) == 3
    held = json.loads((tmp_path / "merged.json").read_text())["reports"]
    assert len(held) == 3


@pytest.mark.slow
def test_a_tiny_row_end_to_end(tmp_path):
    """A row is pretrained, judged with both heads and merged; a repetition starts no process."""
    command = [sys.executable, "-m", "solo_adv.reproduce", "table1", "--scale", "tiny"]
    command += ["--row", "robust_simclr_crop", "--directory", str(tmp_path)]
    subprocess.run(command, check=True)
    (planned,) = plan(Request(tables=["table1"], rows=["robust_simclr_crop"], scale=Tiny()))
    planned = replace(planned, directory=tmp_path)
    held = json.loads((tmp_path / "merged.json").read_text())["reports"]
    assert [entry["linear"] for entry in held] == ["robust", "standard"]
    assert {entry["crop_passes"] for entry in held} == {planned.cost().pretraining}
    assert {entry["model"] for entry in held} == {"robust_simclr_crop-digits"}
    assert not any(entry["alarms"] for entry in held)
    assert (tmp_path / "merged.png").stat().st_size > 10_000

    written = {path: path.stat().st_mtime for path in tmp_path.rglob("report.json")}
    checkpoints = list(tmp_path.rglob("*.ckpt"))
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert "Measured before" not in done.stdout  # a child process would have printed this
    assert {path: path.stat().st_mtime for path in tmp_path.rglob("report.json")} == written
    assert list(tmp_path.rglob("*.ckpt")) == checkpoints


@pytest.mark.slow
def test_printed_commands_run_in_a_shell(tmp_path):
    """The commands are pasted into bash as they are printed."""
    words = ["table2", "--row", "simclr", "--dataset", "cifar10", "--scale", "tiny"]
    words += ["--directory", str(tmp_path), *TINY, "--dry-run", "--throughput", "1"]
    command = [sys.executable, "-m", "solo_adv.reproduce", *words]
    shown = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    script = shown.partition("What it takes")[0].rstrip()
    subprocess.run(["bash", "-euc", script], check=True)
    assert len(list(tmp_path.rglob("report.json"))) == 3
