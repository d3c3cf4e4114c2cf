"""A job of a sweep that fails does not end the others, and a table shows all of them."""

import pytest

from solo_adv.commands import robust
from solo_adv.support.errors import RunStopped, UserError
from solo_adv.support.sweeps import Sweep

SWEEP = ["main_robust", "-m", "checkpoint=a/b-ep=0.ckpt", "steps=1,2,3,4", "hydra.sweep.dir=sweep"]


@pytest.fixture
def jobs(monkeypatch):
    """Replaces the evaluation; the second job of a sweep makes a mistake, the third has a bug."""
    ran = []

    def run(cfg):
        ran.append(cfg.steps)
        if cfg.steps == 2:
            raise UserError("a mistake")
        if cfg.steps == 3:
            raise ZeroDivisionError("a bug")
        return {"clean": 90.0, "PGD": 10.0 * cfg.steps}

    monkeypatch.setattr(robust, "_run", run)
    return ran


def test_jobs_that_fail_do_not_end_the_others(jobs, command):
    status, out, err = command(*SWEEP)
    assert jobs == [1, 2, 3, 4]
    assert status == 2
    assert "error: a mistake" in err
    assert "ZeroDivisionError" in err
    assert "failed: checkpoint='a/b-ep=0.ckpt' steps=2: a mistake" in err
    assert "The sweep" in out
    assert out.count("failed") == 2
    assert "40" in out


def test_a_sweep_without_failure_ends_well(jobs, command):
    status, out, _ = command(*SWEEP[:3], "steps=1,4", SWEEP[-1])
    assert status == 0
    assert "10" in out
    assert "failed" not in out


def test_jobs_in_other_processes_are_in_the_table(jobs, command, monkeypatch, tmp_path):
    note = Sweep._note

    def in_another_process(sweep, *outcome):
        with monkeypatch.context() as elsewhere:
            elsewhere.setattr("os.getpid", lambda: sweep.process + 1)
            note(sweep, *outcome)

    monkeypatch.setattr(Sweep, "_note", in_another_process)
    status, out, err = command(*SWEEP)
    assert jobs == [1, 2, 3, 4]
    assert status == 2
    assert "failed: checkpoint='a/b-ep=0.ckpt' steps=2: a mistake" in err
    assert out.count("failed") == 2
    assert "checkpoint" not in out  # all jobs have the same
    assert not list(tmp_path.glob(".sweep*"))


def test_a_sweeper_that_gives_up_after_failures_is_one_line(jobs, command, monkeypatch):
    def give_up(*_, **__):
        raise ValueError("no trial is complete")

    monkeypatch.setattr("hydra._internal.hydra.Hydra.multirun", give_up)
    failed = ("steps=2", "a mistake")
    monkeypatch.setattr(Sweep, "collect", lambda sweep: sweep.jobs.append(failed))
    status, _, err = command(*SWEEP)
    assert status == 2
    assert "The sweep ended early: ValueError: no trial is complete" in err
    assert "Traceback" not in err


def test_a_stopped_job_ends_the_sweep(monkeypatch, command):
    ran = []

    def stopped(cfg):
        ran.append(cfg.steps)
        raise RunStopped("Stopped by SIGTERM.")

    monkeypatch.setattr(robust, "_run", stopped)
    status, _, err = command(*SWEEP)
    assert status == 75
    assert ran == [1]
    assert "Stopped by SIGTERM." in err
