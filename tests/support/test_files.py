"""Files appear complete or not at all, and damage to them is noticed."""

import errno
import itertools
import os
import resource
import signal
from pathlib import Path

import pytest
import torch

from solo_adv.encoders.checkpoint import read_checkpoint
from solo_adv.support import files as integrity
from solo_adv.support.errors import UserError
from solo_adv.support.files import (
    DamagedFileError,
    digest_path,
    remove,
    remove_unfinished,
    verify,
    write_checked,
    write_whole,
)


@pytest.fixture
def file(tmp_path):
    """A small checkpoint with its checksum."""
    path = tmp_path / "a.ckpt"
    state = {"state_dict": {"w": torch.arange(2000.0)}}
    write_checked(path, lambda out: torch.save(state, out))
    return path


def test_an_unchanged_file_passes(file):
    verify(file)
    assert torch.equal(read_checkpoint(file)["state_dict"]["w"], torch.arange(2000.0))
    assert {path.name for path in file.parent.iterdir()} == {"a.ckpt", "a.ckpt.sha256"}
    remove(file)
    assert not list(file.parent.iterdir())


def test_a_full_disk_leaves_the_old_file(file):
    before = file.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, limits[1]))
    try:
        with pytest.raises(OSError, match=r"large|space") as caught:
            write_checked(file, lambda out: torch.save(torch.zeros(100_000), out))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert caught.value.errno in (errno.EFBIG, errno.ENOSPC)
    assert file.read_bytes() == before
    verify(file)
    assert {path.name for path in file.parent.iterdir()} == {"a.ckpt", "a.ckpt.sha256"}


def test_a_crash_while_writing_leaves_the_old_file(file):
    before = file.read_bytes()

    def crash(out):
        out.write(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_checked(file, crash)
    assert file.read_bytes() == before
    verify(file)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a process that can be killed")
@pytest.mark.parametrize(
    "name",
    ["a.ckpt", pytest.param("b.ckpt", marks=pytest.mark.slow)],
    ids=["in its place", "beside it"],
)
def test_sigkill_at_any_moment_leaves_whole_files(file, name):
    before, moments = file.read_bytes(), 0
    new = {"state_dict": {"w": torch.zeros(3000)}}
    while _write_and_die(file.with_name(name), new, moments):
        moments += 1
        if name == "b.ckpt":
            assert file.read_bytes() == before
            verify(file)
        for path in file.parent.glob("*.ckpt"):
            if path.read_bytes() == before:
                continue  # the old file may already have the new checksum, with which it is refused
            verify(path)
            assert torch.equal(read_checkpoint(path)["state_dict"]["w"], torch.zeros(3000))
        remove_unfinished(file.parent)
        names = {path.name for path in file.parent.iterdir()}
        assert names <= {f"{n}.ckpt{end}" for n in "ab" for end in ("", ".sha256")}
        assert all(n.removesuffix(".sha256") in names for n in names)
    assert moments > 8
    verify(file.with_name(name))


def _write_and_die(path, contents, moment):
    """Write in a process that is killed at step ``moment``; return whether it came to that step."""
    child = os.fork()
    if child == 0:
        steps = itertools.count()

        def dying(work):
            def step(*arguments, **settings):
                if next(steps) == moment:
                    os.kill(os.getpid(), signal.SIGKILL)
                return work(*arguments, **settings)

            return step

        Path.open, Path.replace, os.fsync = map(dying, (Path.open, Path.replace, os.fsync))
        integrity._Hashing.write = dying(integrity._Hashing.write)
        write_checked(path, lambda out: torch.save(contents, out))
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    assert status in (0, signal.SIGKILL)
    return status == signal.SIGKILL


def test_an_exchanged_checksum_is_refused(file):
    digest_path(file).write_text("0" * 64 + "  a.ckpt\n")
    with pytest.raises(DamagedFileError, match="SHA-256"):
        read_checkpoint(file)


def test_a_place_that_cannot_be_written_is_found_before_the_work(tmp_path):
    integrity.require_writable(tmp_path / "new/deep", "the report", remedy="Take another.")
    assert not list((tmp_path / "new/deep").iterdir())
    (tmp_path / "file").touch()
    for place in (tmp_path / "file", tmp_path / "file/below"):
        with pytest.raises(UserError, match=r"Cannot write the report into .*Take another\."):
            integrity.require_writable(place, "the report", remedy="Take another.")


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("größe 猫 ±", "größe 猫 ±".encode()),
        ("r\udcc3\udca9sultats", "résultats".encode()),  # an ASCII locale's view of a path
        ("gr\udcf6sse", "gr\ufffdsse".encode()),  # a Latin-1 path
    ],
)
def test_text_is_written_in_utf8_whatever_the_locale(tmp_path, monkeypatch, text, written):
    monkeypatch.setattr("locale.getpreferredencoding", lambda *_: "ascii")
    write_whole(tmp_path / "report.md", text)
    assert (tmp_path / "report.md").read_bytes() == written
