"""CIFAR-10 and CIFAR-100 from torchvision's own files."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from rich.console import Console
from torchvision.datasets import CIFAR10, CIFAR100
from torchvision.datasets.utils import check_integrity

from solo_adv.data.config import DataConfig
from solo_adv.data.sources import ArraySources, RawSplit
from solo_adv.support.errors import UserError
from solo_adv.support.files import given_path

CLASSES: dict[str, type[CIFAR10]] = {"cifar10": CIFAR10, "cifar100": CIFAR100}
NETWORK_TIMEOUT = 10  # seconds without an answer


def read(config: DataConfig, split: str) -> RawSplit:
    """Read the 50,000 train or 10,000 test images, 32x32 pixels.

    The files are looked for on disk first, extracted or as the archive. If neither is there and
    ``config.download`` allows it, they are downloaded. torchvision checks their MD5 sums.

    Raises:
        UserError: the files are not on disk and could not be downloaded.
    """
    path = config.val_path if split == "test" and config.val_path else config.train_path
    dataset = _open(config.dataset, given_path(str(path)), split == "train", config.download)
    labels = torch.tensor(dataset.targets, dtype=torch.long)
    return RawSplit(ArraySources(dataset.data), labels, tuple(dataset.classes))


def _open(name: str, root: Path, train: bool, download: bool) -> CIFAR10:
    kind = CLASSES[name]
    if root.name == kind.base_folder:
        root = root.parent
    try:
        return kind(root, train=train, download=False)
    except (RuntimeError, OSError):
        pass  # the files are missing or damaged
    archive = check_integrity(str(root / kind.filename), kind.tgz_md5)
    if not archive and not download:
        raise _not_found(kind, name, root, "and data.download is false")
    console = Console(stderr=True)
    deed = f"Extracting {kind.filename}" if archive else f"Downloading {kind.url}"
    console.print(f"{deed} into '{root}'", soft_wrap=True, highlight=False)
    try:
        with _network_timeout(NETWORK_TIMEOUT):
            return kind(root, train=train, download=True)
    except (RuntimeError, OSError, EOFError) as error:  # URLError and time-outs are OSErrors
        raise _not_found(kind, name, root, f"and fetching it failed ({error})") from error


def _not_found(kind: type[CIFAR10], name: str, root: Path, why: str) -> UserError:
    return UserError(
        f"There is no {kind.__name__} in '{root}' {why}. Do one of three things: put"
        f" {kind.filename}, or the folder {kind.base_folder} that it holds, into '{root}'; use"
        f" Hugging Face Parquet files with data={name} data.format=parquet data.train_path=DIR;"
        " or use data=digits, which needs no download."
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
