"""An error from outside that ends a run is reported in one line that names the last checkpoint."""

import errno
import multiprocessing
import os

import pytest

from solo_adv.support.files import verify
from solo_adv.training import checkpoints as checkpointing
from solo_adv.training.checkpoints import Checkpointer

JOB = [
    *("main_pretrain", "--config-name", "emp_ssl", "data=digits", "data.fraction=0.1"),
    *("optimizer.batch_size=32", "crops.num_crops=2", "crops.size=16", "accelerator=cpu"),
    *("backbone.kwargs.width=4", "+backbone.kwargs.layers=[1,1,1,1]", "max_epochs=3"),
    *("method_kwargs.proj_hidden_dim=16", "method_kwargs.proj_output_dim=8"),
]


def the_error(err):
    (line,) = [line for line in err.splitlines() if line.startswith("error: ")]
    assert "Traceback" not in err
    return line


def test_a_full_disk_names_the_checkpoint_that_is_left(command, monkeypatch, tmp_path):
    write = checkpointing.write_checked

    def full(path, contents):
        if "ep=1" in path.name:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(path, contents)

    monkeypatch.setattr(checkpointing, "write_checked", full)
    status, _, err = command(*JOB)
    assert status == 2
    (kept,) = tmp_path.rglob("*.ckpt")
    verify(kept)
    assert "No space left on device" in the_error(err)
    assert f"The last good checkpoint is {kept.relative_to(tmp_path)}" in the_error(err)


def test_a_dead_loading_process_is_named(command, monkeypatch):
    def kill(self, trainer, method, batch, batch_idx):
        for process in multiprocessing.active_children():
            process.kill()

    monkeypatch.setattr(Checkpointer, "on_train_batch_start", kill)
    status, _, err = command(*JOB, "data.resident=false", "data.num_workers=1")
    assert status == 2
    assert "A process that loads images died" in the_error(err)
    assert "data.num_workers=0" in the_error(err)


@pytest.mark.parametrize(
    "left", [ConnectionResetError(104, "Connection reset by peer"), EOFError(), BrokenPipeError()]
)
def test_a_process_that_dies_while_it_hands_over_a_batch_is_named(command, monkeypatch, left):
    def break_off(self, trainer, method, batch, batch_idx):
        raise left

    monkeypatch.setattr(Checkpointer, "on_train_batch_start", break_off)
    status, _, err = command(*JOB)
    assert status == 2
    assert "A process that loads images died" in the_error(err)


def test_a_logger_that_is_offline(command, monkeypatch):
    def unreachable(**settings):
        raise ConnectionError("no route to host")

    monkeypatch.setattr("solo_adv.training.loggers.WandbLogger", unreachable)
    status, _, err = command(*JOB, "wandb.enabled=true")
    assert status == 2
    assert "no route to host. wandb.offline=true" in the_error(err)


def test_a_directory_that_cannot_be_written_is_found_before_training(
    command, monkeypatch, tmp_path
):
    (tmp_path / "runs").write_text("a file")
    monkeypatch.setattr(
        Checkpointer, "on_train_start", lambda *_: pytest.fail("training has begun")
    )
    status, _, err = command(*JOB, "checkpoint.dir=runs")
    assert status == 2
    assert "checkpoint.dir=runs cannot be written" in the_error(err)
