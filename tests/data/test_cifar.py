import hashlib
import pickle
import socket
import tarfile
import urllib.error

import numpy as np
import pytest
import torch
from torchvision.datasets import CIFAR10, CIFAR100

from solo_adv.data import DataConfig, load_split
from solo_adv.support.errors import UserError

CLASSES = {"cifar10": CIFAR10, "cifar100": CIFAR100}


def pickled(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(content))
    return [path.name, hashlib.md5(path.read_bytes()).hexdigest()]


@pytest.fixture(params=["cifar10", "cifar100"])
def files(request, tmp_path, monkeypatch):
    """torchvision's files with a few images in them, as the name of the set and the folder."""
    kind = CLASSES[request.param]
    key = "labels" if request.param == "cifar10" else "fine_labels"
    root = tmp_path / "files"
    random = np.random.default_rng(0)

    def batch(name, count):
        data = random.integers(0, 256, (count, 3072), dtype=np.uint8)
        return pickled(root / kind.base_folder / name, {"data": data, key: [0, 1] * (count // 2)})

    train = [batch(name, 4) for name, _ in kind.train_list]
    test = [batch(name, 2) for name, _ in kind.test_list]
    names = {kind.meta["key"]: ["plane", "car"]}
    _, md5 = pickled(root / kind.base_folder / kind.meta["filename"], names)
    monkeypatch.setattr(kind, "train_list", train)
    monkeypatch.setattr(kind, "test_list", test)
    monkeypatch.setattr(kind, "meta", {**kind.meta, "md5": md5})
    return request.param, root


@pytest.fixture
def archive(files, tmp_path, monkeypatch):
    """The same files in an archive like the one that torchvision downloads."""
    name, root = files
    kind = CLASSES[name]
    packed = tmp_path / "packed"
    packed.mkdir()
    with tarfile.open(packed / kind.filename, "w:gz") as stream:
        stream.add(root / kind.base_folder, kind.base_folder)
    md5 = hashlib.md5((packed / kind.filename).read_bytes()).hexdigest()
    monkeypatch.setattr(kind, "tgz_md5", md5)
    return name, packed


@pytest.fixture
def offline(monkeypatch):
    """Refuses every connection, and notes the time limit of each attempt."""
    limits = []

    def refuse(*args, **kwargs):
        limits.append(socket.getdefaulttimeout())
        raise urllib.error.URLError("Name or service not known")

    monkeypatch.setattr("urllib.request.urlopen", refuse)
    return limits


def test_files_on_disk_need_no_network(files, offline, capfd):
    name, root = files
    config = DataConfig(dataset=name, train_path=str(root))
    train, test = load_split(config, "train"), load_split(config, "test")
    assert train.images.shape == (4 * len(CLASSES[name].train_list), 3, 32, 32)
    assert len(test) == 2
    assert train.classes == ("plane", "car")
    assert train.labels[:4].tolist() == [0, 1, 0, 1]
    first = CIFAR10 if name == "cifar10" else CIFAR100
    expected = first(root, train=True).data[1]
    assert np.array_equal(train[1][0].numpy(), expected.transpose(2, 0, 1))
    assert not offline
    assert "Downloading" not in capfd.readouterr().err


def test_the_extracted_folder_itself_can_be_named(files):
    name, root = files
    folder = root / CLASSES[name].base_folder
    assert len(load_split(DataConfig(dataset=name, train_path=str(folder)), "test")) == 2


@pytest.mark.parametrize("download", [True, False])
def test_archive_is_extracted(archive, offline, capfd, download):
    name, packed = archive
    kind = CLASSES[name]
    config = DataConfig(dataset=name, train_path=str(packed), download=download)
    assert len(load_split(config, "test")) == 2
    assert f"Extracting {kind.filename}" in capfd.readouterr().err
    assert not offline


def test_image_size_and_fraction(files):
    name, root = files
    config = DataConfig(dataset=name, train_path=str(root), image_size=16, fraction=0.5)
    train = load_split(config, "train")
    assert train.images.shape == (2 * len(CLASSES[name].train_list), 3, 16, 16)
    assert train.images.dtype == torch.uint8


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_download_out_of_reach(name, tmp_path, offline, capfd):
    config = DataConfig(dataset=name, train_path=str(tmp_path / "new"))
    with pytest.raises(UserError) as caught:
        load_split(config, "train")
    message = str(caught.value)
    assert "\n" not in message
    for part in (
        f"'{tmp_path / 'new'}'",
        CLASSES[name].filename,
        "data.format=parquet data.train_path=DIR",
        "data=digits",
        "Name or service not known",
    ):
        assert part in message
    assert "Downloading https" in capfd.readouterr().err
    assert offline
    # The download has a time limit, against silent firewalls, which must not stay set afterwards.
    assert all(limit is not None and limit <= 10 for limit in offline)
    assert socket.getdefaulttimeout() is None


def test_download_refused(tmp_path, offline):
    config = DataConfig(dataset="cifar10", train_path=str(tmp_path), download=False)
    with pytest.raises(UserError, match=r"data\.download is false"):
        load_split(config, "train")
    assert not offline


def test_corrupt_file_is_not_read(files, offline):
    name, root = files
    kind = CLASSES[name]
    (root / kind.base_folder / kind.test_list[0][0]).write_bytes(b"changed")
    config = DataConfig(dataset=name, train_path=str(root), download=False)
    with pytest.raises(UserError, match=r"CIFAR.* is damaged.* has 7 bytes and the MD5 sum"):
        load_split(config, "test")


@pytest.mark.parametrize("download", [True, False])
def test_a_partial_archive_is_called_damaged(archive, offline, download):
    name, packed = archive
    kind = CLASSES[name]
    file = packed / kind.filename
    file.write_bytes(file.read_bytes()[:100])
    config = DataConfig(dataset=name, train_path=str(packed), download=download)
    with pytest.raises(UserError, match=r"is damaged or incomplete.* has 100 bytes") as caught:
        load_split(config, "train")
    assert f"the published file has the sum {kind.tgz_md5}" in str(caught.value)
    assert "There is no" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_partial_folder_says_what_it_lacks(files, offline):
    name, root = files
    kind = CLASSES[name]
    (root / kind.base_folder / kind.train_list[0][0]).unlink()
    config = DataConfig(dataset=name, train_path=str(root), download=False)
    with pytest.raises(UserError, match=f"incomplete: .* lacks {kind.train_list[0][0]},"):
        load_split(config, "train")
