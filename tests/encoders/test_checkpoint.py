"""Which checkpoint of a directory is read, and which directories are refused."""

import os

import pytest

from solo_adv import UserError
from solo_adv.encoders.checkpoint import find_checkpoint, position
from solo_adv.support.files import write_checked


def test_the_newest_checkpoint_is_the_furthest_in_training(tmp_path):
    names = ["a-ep=2.ckpt", "a-ep=10.ckpt", "a-ep=9-batch=70.ckpt", "a-ep=10-batch=5.ckpt"]
    for age, name in enumerate(names):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (1000 - age, 1000 - age))
    assert find_checkpoint(tmp_path).name == "a-ep=10.ckpt"
    ordered = sorted(tmp_path.iterdir(), key=position)
    assert [path.name for path in ordered] == [names[0], names[2], names[3], names[1]]


def test_a_directory_without_checkpoint_is_refused(tmp_path):
    with pytest.raises(UserError, match="No checkpoint"):
        find_checkpoint(tmp_path)


def test_the_home_directory_may_be_written_as_a_tilde(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "a-ep=0.ckpt").touch()
    assert find_checkpoint("~") == find_checkpoint("~/a-ep=0.ckpt") == tmp_path / "a-ep=0.ckpt"


def test_a_damaged_newest_checkpoint_is_passed_over_and_named(tmp_path):
    for epoch in range(2):
        write_checked(tmp_path / f"a-ep={epoch}.ckpt", lambda file: file.write(b"weights"))
    (tmp_path / "a-ep=1.ckpt").write_bytes(b"weigh")
    with pytest.warns(UserWarning, match="a-ep=1.ckpt"):
        assert find_checkpoint(tmp_path).name == "a-ep=0.ckpt"
    (tmp_path / "a-ep=0.ckpt").write_bytes(b"we")
    with (
        pytest.warns(UserWarning, match="a-ep=0"),
        pytest.raises(UserError, match="Every checkpoint in"),
    ):
        find_checkpoint(tmp_path)


def test_checkpoints_of_several_runs_in_one_directory_are_refused_and_named(tmp_path):
    for name in ("a-ep=0", "a-ep=3", "b-ep=2-batch=7"):
        (tmp_path / f"{name}.ckpt").touch()
    with pytest.raises(UserError, match="checkpoints of 2 runs") as refused:
        find_checkpoint(tmp_path)
    assert "a-ep=3.ckpt" in str(refused.value)
    assert "b-ep=2-batch=7.ckpt" in str(refused.value)
    assert "a-ep=0.ckpt" not in str(refused.value)


def test_a_directory_above_the_runs_names_them(tmp_path):
    for number in range(7):
        (tmp_path / f"cfamc/v-{number}").mkdir(parents=True)
        (tmp_path / f"cfamc/v-{number}/a-ep=0.ckpt").touch()
    below = ".*".join(f"cfamc/v-{number}" for number in range(5))
    with pytest.raises(UserError, match=rf"itself\. Below it: .*{below} and 2 more\. Name one"):
        find_checkpoint(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"No checkpoint .*, nor below it\."):
        find_checkpoint(tmp_path / "empty")
