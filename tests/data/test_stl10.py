"""STL-10 from small files in its published format."""

import hashlib
import socket
import tarfile
import urllib.error

import numpy as np
import pytest
import torch
from torchvision.datasets import STL10

from solo_adv.data import DataConfig, load_split
from solo_adv.data.stl10 import NAMES
from solo_adv.support.errors import UserError

COUNTS = {"train": 20, "unlabeled": 6, "test": 10}


@pytest.fixture
def pixels():
    """For each part, uint8 (N, 96, 96, 3)."""
    random = np.random.default_rng(0)
    return {
        part: random.integers(0, 256, (n, 96, 96, 3), dtype=np.uint8) for part, n in COUNTS.items()
    }


@pytest.fixture
def root(tmp_path, monkeypatch, pixels):
    """A folder with stl10_binary: channel by channel, each by columns, and labels from 1."""
    folder = tmp_path / "files" / "stl10_binary"
    folder.mkdir(parents=True)

    def write(name, content):
        (folder / name).write_bytes(content)
        return [name, hashlib.md5(content).hexdigest()]

    sums = {
        part: write(f"{part}_X.bin", images.transpose(0, 3, 2, 1).tobytes())
        for part, images in pixels.items()
    }
    labels = {
        part: write(f"{part}_y.bin", bytes(n % 10 + 1 for n in range(COUNTS[part])))
        for part in ("train", "test")
    }
    monkeypatch.setattr(STL10, "train_list", [sums["train"], labels["train"], sums["unlabeled"]])
    monkeypatch.setattr(STL10, "test_list", [sums["test"], labels["test"]])
    return folder.parent


def config(root, **options):
    return DataConfig(dataset="stl10", train_path=str(root), **options)


def channels_first(images):
    return torch.from_numpy(images.transpose(0, 3, 1, 2).copy())


@pytest.mark.parametrize("resident", [True, False])
def test_what_is_read_is_what_torchvision_reads(root, pixels, resident):
    for split in ("train", "test"):
        found = load_split(config(root, resident=resident), split)
        reference = STL10(root, split=split)
        images = torch.stack([image for image, _ in found])
        assert torch.equal(images, torch.from_numpy(reference.data.copy()))
        assert torch.equal(images, channels_first(pixels[split]))
        assert found.labels.tolist() == reference.labels.tolist()
        assert found.classes == NAMES
        assert found.stored_size == "96x96"


@pytest.mark.parametrize("resident", [True, False])
def test_unlabelled_images(root, pixels, resident):
    both = load_split(config(root, train_split="train+unlabelled", resident=resident), "train")
    joined = channels_first(np.concatenate([pixels["train"], pixels["unlabeled"]]))
    assert torch.equal(torch.stack([image for image, _ in both]), joined)
    assert both.labels.tolist() == [n % 10 for n in range(20)] + [-1] * 6
    assert both.num_classes == 10
    assert not both.labelled
    alone = load_split(config(root, train_split="unlabelled", resident=resident), "train")
    assert len(alone) == 6
    assert alone.labels.tolist() == [-1] * 6
    part = config(root, train_split="train+unlabelled", resident=resident, fraction=0.5)
    half = load_split(part, "train")
    where = [int((joined == image).flatten(1).all(1).nonzero()) for image, _ in half]
    assert [both.labels[row] for row in where] == half.labels.tolist()


def test_evaluations_take_the_labelled_images(root):
    pretraining = {"dataset": "stl10", "train_path": str(root), "train_split": "train+unlabelled"}
    judged = DataConfig.for_evaluation(pretraining, {"train_split": None, "labels": "1_per_class"})
    assert load_split(judged, "train").labels.bincount().tolist() == [1] * 10


def test_only_the_files_that_are_read_are_needed(root):
    (root / "stl10_binary" / "unlabeled_X.bin").unlink()
    offline = config(root, download=False)
    assert len(load_split(offline, "train")) == 20
    assert len(load_split(config(root / "stl10_binary", download=False), "test")) == 10
    with pytest.raises(UserError, match=r"no STL-10 in .*data\.download is false"):
        load_split(config(root, download=False, train_split="unlabelled"), "train")


def test_a_damaged_file_is_not_read(root):
    (root / "stl10_binary" / "test_y.bin").write_bytes(b"\x01" * 10)
    with pytest.raises(UserError, match=r"STL-10 in .* is damaged.*test_y\.bin.* has 10 bytes"):
        load_split(config(root, download=False), "test")


def test_the_archive_is_extracted(root, tmp_path, monkeypatch, capfd):
    packed = tmp_path / "packed"
    packed.mkdir()
    with tarfile.open(packed / STL10.filename, "w:gz") as stream:
        stream.add(root / "stl10_binary", "stl10_binary")
    md5 = hashlib.md5((packed / STL10.filename).read_bytes()).hexdigest()
    monkeypatch.setattr(STL10, "tgz_md5", md5)
    assert len(load_split(config(packed, download=False), "test")) == 10
    assert "Extracting stl10_binary.tar.gz" in capfd.readouterr().err


def test_out_of_reach(tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        assert socket.getdefaulttimeout() is not None
        raise urllib.error.URLError("Name or service not known")

    monkeypatch.setattr("urllib.request.urlopen", refuse)
    with pytest.raises(UserError) as caught:
        load_split(config(tmp_path), "train")
    message = str(caught.value)
    assert "\n" not in message
    for part in (
        "stl10_binary.tar.gz, or the folder stl10_binary",
        "Name or service not known",
        "data=stl10 data.format=parquet",
    ):
        assert part in message


def test_splits_are_checked():
    with pytest.raises(UserError, match=r"data\.train_split.*unlabelled"):
        DataConfig(dataset="stl10", train_split="unlabeled+")
    with pytest.raises(UserError, match=r"data\.train_split"):
        DataConfig(dataset="cifar10", train_split="extra")
    assert DataConfig(dataset="stl10").train_path == "./datasets"


def test_parquet(tmp_path, pixels, write_parquet):
    names = [f"class {n}" for n in range(10)]
    labels = [n % 10 for n in range(20)]
    write_parquet(tmp_path / "train-0.parquet", pixels["train"], labels, names=names)
    write_parquet(tmp_path / "test-0.parquet", pixels["test"], labels[:10], names=names)
    write_parquet(tmp_path / "unlabeled-0.parquet", pixels["unlabeled"], [7] * 6, names=names)
    parquet = {"dataset": "stl10", "format": "parquet", "train_path": str(tmp_path)}
    both = load_split(DataConfig(**parquet, train_split="train+unlabelled"), "train")
    assert both.labels.tolist() == [*labels, *[-1] * 6]
    assert torch.equal(both.images[20:], channels_first(pixels["unlabeled"]))
    assert both.classes == tuple(names)
    assert len(load_split(DataConfig(**parquet), "train")) == 20
    one = {**parquet, "train_path": str(tmp_path / "train-0.parquet")}
    with pytest.raises(UserError, match=r"train_split=unlabelled needs a folder"):
        load_split(DataConfig(**one, train_split="unlabelled"), "train")
    (tmp_path / "unlabeled-0.parquet").unlink()
    with pytest.raises(UserError, match=r"No unlabeled\*\.parquet or unlabelled\*\.parquet"):
        load_split(DataConfig(**parquet, train_split="unlabelled"), "train")


TINY = (
    *("data=stl10", "data.image_size=16", "crops.size=16", "crops.num_crops=2", "max_epochs=1"),
    *("optimizer.batch_size=8", "+backbone.kwargs.width=4", "accelerator=cpu"),
)


@pytest.mark.slow
def test_a_run_from_pretraining_to_evaluation(root, command, tmp_path):
    """Pretraining sees all images, and every figure is of the labelled ones."""
    tiny = [*TINY, f"data.train_path={root}"]
    status, out, err = command(
        *("main_pretrain", "--config-name", "emp_ssl", *tiny, "+enable_progress_bar=false"),
    )
    assert status == 0, err
    (metrics,) = tmp_path.rglob("metrics.csv")
    header, *_ = metrics.read_text().splitlines()
    assert {"val_knn_acc1", "val_acc1"} <= set(header.split(","))
    checkpoint = out.strip().split("Checkpoint: ")[1]
    status, out, err = command(
        *("main_robust", f"checkpoint='{checkpoint}'", "head.epochs=1", "head.min_updates=1"),
        *("steps=1", "alarm_images=0", "epsilons=[8/255]", "accelerator=cpu"),
    )
    assert status == 0, err
    assert "10 of 10 test images, 20 train images" in out
    assert "Transfer" not in out
    status, _, err = command("main_pretrain", "--config-name", "supervised_freeadv", *tiny)
    assert status == 2
    assert "data.train_split=train" in err
