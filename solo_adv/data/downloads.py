"""Files that torchvision can download: finds them, checks their MD5 sums, and fetches them."""

import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from rich.console import Console
from torchvision.datasets.utils import (
    calculate_md5,
    check_integrity,
    download_and_extract_archive,
    download_url,
)

from solo_adv.support.errors import UserError
from solo_adv.support.progress import say

NETWORK_TIMEOUT = 10  # seconds without an answer


@dataclass(frozen=True, kw_only=True)
class Files:
    """The files of a data set as they are published.

    Attributes:
        dataset: the data set's name in the config.
        title: its name in messages.
        folder: the folder below the data set's place that holds the files; empty if there is none.
        sums: the MD5 sum of each file, by name.
        url: where the archive or, without ``archive``, the only file is.
        archive: name and MD5 sum of the archive that holds the folder; None if there is none.
    """

    dataset: str
    title: str
    folder: str
    sums: Mapping[str, str]
    url: str
    archive: tuple[str, str] | None = None

    def root(self, path: Path) -> Path:
        """The data set's place, if ``path`` is that or the folder in it."""
        return path.parent if self.folder and path.name == self.folder else path

    def whole(self, root: Path) -> bool:
        """Whether all files are there, with the right MD5 sums."""
        return all(_intact(root / self.folder / name, md5) for name, md5 in self.sums.items())


def ensure(files: Files, root: Path, *, download: bool) -> None:
    """Make sure that a data set's files are there: as they are, from the archive, or downloaded.

    Args:
        files: the files.
        root: the data set's place.
        download: whether files that are not there may be downloaded.

    Raises:
        UserError: they are not there and cannot be had.
    """
    if files.whole(root):
        return
    archive = files.archive is not None and check_integrity(
        str(root / files.archive[0]), files.archive[1]
    )
    damage = "" if archive else _damage(files, root)
    if not archive and not download:
        raise _not_found(files, root, "and data.download is false", damage)
    if damage:
        say(f"Damaged or incomplete: {damage}")
    deed = f"Extracting {files.archive[0]}" if archive and files.archive else "Downloading "
    deed += "" if archive else files.url
    Console(stderr=True).print(f"{deed} into '{root}'", soft_wrap=True, highlight=False)
    try:
        with _network_timeout(NETWORK_TIMEOUT):
            if files.archive is not None:
                name, md5 = files.archive
                download_and_extract_archive(files.url, root, filename=name, md5=md5)
            else:
                ((name, md5),) = files.sums.items()
                download_url(files.url, root, name, md5)
    except (RuntimeError, OSError, EOFError) as error:  # URLError and time-outs are OSErrors
        raise _not_found(files, root, f"and fetching it failed ({error})", damage) from error
    if not files.whole(root):
        raise _not_found(files, root, "with the published MD5 sums, even after extracting it")


def _intact(path: Path, md5: str) -> bool:
    try:
        state = path.stat()
    except OSError:
        return False
    return _has_sum(str(path), md5, state.st_size, state.st_mtime_ns)


@lru_cache
def _has_sum(path: str, md5: str, size: int, changed: int) -> bool:
    # Every split is read twice, and gigabytes are not hashed twice.
    return bool(check_integrity(path, md5))


def _damage(files: Files, root: Path) -> str:
    """Which file of the data set is there and differs from the published one; empty if none."""
    archive = () if files.archive is None else (files.archive,)
    for path, expected in (
        *((root / name, md5) for name, md5 in archive),
        *((root / files.folder / name, md5) for name, md5 in files.sums.items()),
    ):
        if path.is_file() and not _intact(path, expected):
            return (
                f"'{path}' has {path.stat().st_size:,} bytes and the MD5 sum {calculate_md5(path)};"
                f" the published file has the sum {expected}"
            )
    lacking = [name for name in files.sums if not (root / files.folder / name).is_file()]
    if files.folder and 0 < len(lacking) < len(files.sums):
        return f"'{root / files.folder}' lacks {', '.join(lacking)}"
    return ""


def _not_found(files: Files, root: Path, why: str, damage: str = "") -> UserError:
    put = ", ".join(files.sums)
    if files.archive is not None:
        put = f"{files.archive[0]}, or the folder {files.folder} that it holds,"
    found = f"There is no {files.title} in '{root}'"
    if damage:
        found = f"{files.title} in '{root}' is damaged or incomplete: {damage},"
    return UserError(
        f"{found} {why}. Do one of three things: put {put} into"
        f" '{root}'; use Hugging Face Parquet files with data={files.dataset} data.format=parquet"
        " data.train_path=DIR; or use data=digits, which needs no download."
    )


@contextmanager
def _network_timeout(seconds: float) -> Iterator[None]:
    # torchvision opens its connections without a time limit and would hang behind a firewall.
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
