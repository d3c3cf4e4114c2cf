"""Writes files such that they are never left half written, and checks them.

A file is written under another name, checked by its SHA-256, and then renamed. Its checksum lies
beside it in ``<file>.sha256``, in the format of ``sha256sum -c``.
"""

import hashlib
import os
import warnings
import zipfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from solo_adv.support.errors import UserError
from solo_adv.support.hashes import sha256_of_file

_UNFINISHED = ".unfinished"
_DIGEST = ".sha256"


class DamagedFileError(UserError):
    """A file differs from what was written. The message names it."""


def digest_path(path: Path) -> Path:
    """The path of a file's checksum."""
    return path.with_name(path.name + _DIGEST)


def write_checked(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a file and its checksum such that a crash at any moment leaves no damaged file.

    Args:
        path: where the file appears once it is on disk and reads back as it was written.
        write: takes an open file and writes the contents to it from front to back.

    Raises:
        OSError: the file cannot be written, for instance because the disk is full. An older file
            at ``path`` is then unchanged.
        DamagedFileError: the file reads back differently from what was written.
    """
    unfinished = path.with_name(path.name + _UNFINISHED)
    hashing = None
    try:
        with unfinished.open("wb") as file:
            hashing = _Hashing(file)
            write(hashing)  # type: ignore[arg-type]
            _to_disk(file)
        _compare(unfinished, hashing.digest.hexdigest())
        # The checksum is written first, because `verify` accepts a file without a checksum.
        write_whole(digest_path(path), f"{hashing.digest.hexdigest()}  {path.name}\n")
        unfinished.replace(path)
        _directory_to_disk(path.parent)
    except BaseException as error:
        unfinished.unlink(missing_ok=True)
        # A writer in C++ hides the OSError of a full disk behind an error of its own.
        if hashing is not None and hashing.error is not None:
            raise hashing.error from error
        raise


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a small file without a checksum. A crash leaves either the old or the new file.

    Raises:
        OSError: the file cannot be written.
    """
    unfinished = path.with_name(path.name + _UNFINISHED)
    try:
        with unfinished.open("wb") as file:
            file.write(_as_utf8(content) if isinstance(content, str) else content)
            _to_disk(file)
        unfinished.replace(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


def _as_utf8(text: str) -> bytes:
    """Text in UTF-8, whatever the locale.

    Python gives bytes of a path that the locale cannot decode as lone surrogates. They are written
    as they are if they are UTF-8, else as U+FFFD.
    """
    return text.encode(errors="surrogateescape").decode(errors="replace").encode()


def write_files(files: Mapping[Path, str | bytes], what: str, *, remedy: str) -> None:
    """Write small files by :func:`write_whole`, after making the directories that they lie in.

    Args:
        files: the contents by path.
        what: what the files are together, for the error, such as ``the report``.
        remedy: a sentence for the error that says what the user can do.

    Raises:
        UserError: a file cannot be written.
    """
    for path, content in files.items():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, content)
        except OSError as error:
            raise UserError(
                f"Cannot write {what} into '{path.parent}' ({error.strerror}). {remedy}"
            ) from error


def require_writable(directory: Path, what: str, *, remedy: str) -> None:
    """Make a directory and write into it for a moment, before hours of work for what lies in it.

    Args:
        directory: where ``what`` will be written.
        what: what will be written, for the error, such as ``the report``.
        remedy: a sentence for the error that says what the user can do.

    Raises:
        UserError: it cannot be written.
    """
    write_files({directory / ".writable": b""}, what, remedy=remedy)
    (directory / ".writable").unlink(missing_ok=True)


def verify(path: Path) -> None:
    """Check a file against its checksum or, if it is a zip file without one, against its CRCs.

    A file that has no checksum and is no zip file passes, because there is nothing to compare.

    Raises:
        DamagedFileError: the file does not match.
    """
    digest = digest_path(path)
    if digest.exists():
        _compare(path, digest.read_text(errors="replace").partition(" ")[0])
    elif zipfile.is_zipfile(path):
        try:
            with zipfile.ZipFile(path) as archive:
                bad = archive.testzip()
        except (
            Exception
        ) as error:  # zipfile raises many types for a damaged directory of the archive
            raise _damaged(path, str(error)) from error
        if bad is not None:
            raise _damaged(path, f"the CRC of its part {bad} is wrong")


def given_path(path: str | Path) -> Path:
    """The path that a user means: a leading ``~`` stands for the home directory.

    Raises:
        UserError: the path begins with ``~`` and the user has no home directory.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError as error:  # a user without an entry in the system's list, as in containers
        raise UserError(f"{path}: this user has no home directory. Give the whole path.") from error


def first_undamaged(paths: Iterable[Path]) -> Path | None:
    """The first of ``paths`` that :func:`verify` accepts; a warning names those before it."""
    for path in paths:
        try:
            verify(path)
        except DamagedFileError as error:
            warnings.warn(f"Passed over: {error}", stacklevel=3)
        else:
            return path
    return None


def remove(path: Path) -> None:
    """Delete a file and its checksum."""
    path.unlink(missing_ok=True)
    digest_path(path).unlink(missing_ok=True)


def remove_unfinished(directory: Path) -> None:
    """Delete files that a killed process did not finish, and checksums without a file."""
    for path in directory.glob(f"*{_UNFINISHED}"):
        path.unlink(missing_ok=True)
    for digest in directory.glob(f"*{_DIGEST}"):
        if not digest.with_name(digest.name.removesuffix(_DIGEST)).exists():
            digest.unlink(missing_ok=True)


class _Hashing:
    """A file that hashes what is written to it, and remembers why writing failed."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.digest = hashlib.sha256()
        self.error: OSError | None = None

    def write(self, data: Any) -> int:
        try:
            count = self.file.write(data)
        except OSError as error:
            self.error = error
            raise
        self.digest.update(data)
        return count

    def flush(self) -> None:
        self.file.flush()


def _to_disk(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _directory_to_disk(directory: Path) -> None:
    if os.name == "posix":
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _compare(path: Path, expected: str) -> None:
    if sha256_of_file(path) != expected:
        raise _damaged(path, "its SHA-256 is not the one it was written with")


def _damaged(path: Path, reason: str) -> DamagedFileError:
    return DamagedFileError(
        f"{path} is not a readable checkpoint: it is damaged or cut off ({reason}). Use another "
        "copy or an earlier checkpoint."
    )
