"""What can be named to be continued, and what is refused in one line that is true."""

import shutil

import pytest
import torch

from tests.training.test_resume import BATCHES, JOB, final, interrupt_after, logged

RUN = ["main_pretrain", "--config-name", "cfamc", *JOB]


@pytest.fixture
def stopped(command, monkeypatch, tmp_path):
    """The checkpoint of a run that was stopped in its second epoch."""
    interrupt_after(monkeypatch, BATCHES + 2)
    assert command(*RUN)[0] == 75
    (checkpoint,) = tmp_path.rglob("*batch=2.ckpt")
    return checkpoint


@pytest.mark.parametrize("by", ["directory", "latest", "file"])
def test_what_can_be_named(by, command, stopped, tmp_path):
    named = {"directory": stopped.parent, "latest": "latest", "file": stopped}[by]
    status, out, err = command(*RUN, f"resume_from_checkpoint={named}")
    assert status == 0, err
    assert "Resuming from" in out
    assert out.split()[-1].endswith("ep=1.ckpt")
    runs = [path.parent for path in tmp_path.rglob("args.json")]
    assert len(runs) == (2 if by == "file" else 1)  # a named file begins another run
    if by != "file":
        rows = logged(tmp_path)
        assert [row["step"] for row in rows if row["val_acc1"]] == ["7", "15"]
    assert "Next: " in err
    assert f"checkpoint={out.split()[-1].rpartition('/')[0]}" in err


def test_what_a_named_file_says_about_continuing(command, stopped, monkeypatch):
    interrupt_after(monkeypatch, BATCHES + 4)
    status, _, err = command(*RUN, f"resume_from_checkpoint={stopped}")
    assert status == 75
    assert "; resume_from_checkpoint=" in err
    assert "batch=4.ckpt continues it." in err


def test_what_cannot_be_continued(command, stopped, tmp_path):
    def refused(*arguments, file=stopped):
        status, _, err = command(*RUN, *arguments, f"+resume_from_checkpoint={file}")
        assert status == 2, err
        assert err.count("\n") == 1, err
        assert "continues it" not in err or "larger max_epochs" in err
        return err

    assert "backbone.kwargs.width was 4, is 8" in refused("backbone.kwargs.width=8")
    assert "32 images in a step" in refused("optimizer.batch_size=16")
    assert "does not exist" in refused(file="nowhere")
    foreign = tmp_path / "foreign.ckpt"
    torch.save({"state_dict": {"fc.weight": torch.ones(2, 2)}}, foreign)
    assert "not of a training run of this package" in refused(file=foreign)
    damaged = tmp_path / "runs" / stopped.name
    damaged.parent.mkdir()
    damaged.write_bytes(stopped.read_bytes()[:10_000])
    assert "not a readable checkpoint" in refused(file=damaged)
    status, _, err = command(*RUN)  # to its end
    assert status == 0, err
    assert "of a finished run: all of max_epochs=2 epochs" in refused(file=stopped.parent)
    (last,) = stopped.parent.glob("*.ckpt")
    renamed = tmp_path / "renamed.ckpt"
    shutil.copy(last, renamed)
    assert "of a finished run" in refused(file=renamed)


@pytest.mark.slow
def test_a_longer_run_continues_a_finished_one(command, tmp_path):
    status, _, err = command(*RUN, "max_epochs=1")
    assert status == 0, err
    status, out, err = command(*RUN, "resume_from_checkpoint=latest")
    assert status == 0, err
    assert "Continued with other settings: max_epochs was 1, is 2" in out
    assert final(tmp_path)["epoch"] == 1
