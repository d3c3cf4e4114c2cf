"""Files appear whole or not at all, and damage to them is found."""

import errno
import resource

import pytest
import torch

from solo_adv.checkpoint import read_checkpoint
from solo_adv.integrity import DamagedFileError, digest_path, remove, verify, write_whole


@pytest.fixture
def file(tmp_path):
    """A small checkpoint with its checksum."""
    path = tmp_path / "a.ckpt"
    state = {"state_dict": {"w": torch.arange(2000.0)}}
    write_whole(path, lambda out: torch.save(state, out))
    return path


def test_what_was_written_passes(file):
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
            write_whole(file, lambda out: torch.save(torch.zeros(100_000), out))
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
        write_whole(file, crash)
    assert file.read_bytes() == before
    verify(file)


def test_an_exchanged_checksum_is_refused(file):
    digest_path(file).write_text("0" * 64 + "  a.ckpt\n")
    with pytest.raises(DamagedFileError, match="SHA-256"):
        read_checkpoint(file)
