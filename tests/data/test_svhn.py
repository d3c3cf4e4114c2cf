"""SVHN from small files in its published format."""

import hashlib
import urllib.error

import numpy as np
import pytest
import scipy.io
import torch
from torchvision.datasets import SVHN

from solo_adv.data import DataConfig, load_split
from solo_adv.support.errors import UserError

COUNTS = {"train": 12, "test": 10, "extra": 5}


@pytest.fixture
def pixels():
    """For each part, uint8 (N, 32, 32, 3)."""
    random = np.random.default_rng(0)
    return {
        part: random.integers(0, 256, (n, 32, 32, 3), dtype=np.uint8) for part, n in COUNTS.items()
    }


@pytest.fixture
def root(tmp_path, monkeypatch, pixels):
    """A folder with MATLAB files: images (32, 32, 3, N), and 10 is the label of a zero."""
    published = {}
    for part, images in pixels.items():
        file = tmp_path / f"{part}_32x32.mat"
        labels = np.array([[10 if n % 10 == 0 else n % 10] for n in range(len(images))], np.uint8)
        scipy.io.savemat(file, {"X": images.transpose(1, 2, 3, 0), "y": labels})
        published[part] = ["http://x/y", file.name, hashlib.md5(file.read_bytes()).hexdigest()]
    monkeypatch.setattr(SVHN, "split_list", published)
    return tmp_path


def config(root, **options):
    return DataConfig(dataset="svhn", train_path=str(root), download=False, **options)


def channels_first(images):
    return torch.from_numpy(images.transpose(0, 3, 1, 2).copy())


@pytest.mark.parametrize("resident", [True, False])
@pytest.mark.parametrize("split", ["train", "test"])
def test_pixels_and_labels(root, pixels, split, resident):
    found = load_split(config(root, resident=resident), split)
    images = torch.stack([image for image, _ in found])
    assert torch.equal(images, channels_first(pixels[split]))
    assert torch.equal(images, torch.from_numpy(SVHN(root, split=split).data.copy()))
    assert found.labels.tolist() == [n % 10 for n in range(COUNTS[split])]
    assert found.classes == tuple("0123456789")


def test_extra_images(root, pixels):
    both = load_split(config(root, train_split="train+extra", image_size=16), "train")
    assert both.images.shape == (17, 3, 16, 16)
    assert both.labels.tolist() == [n % 10 for n in (*range(12), *range(5))]
    extra = load_split(config(root, train_split="extra"), "train")
    assert torch.equal(extra.images, channels_first(pixels["extra"]))
    with pytest.raises(UserError, match=r"data\.train_split 'unlabelled'"):
        config(root, train_split="unlabelled")


def test_files_that_are_not_there(root, monkeypatch):
    (root / "test_32x32.mat").write_bytes(b"damaged")
    assert len(load_split(config(root), "train")) == 12
    with pytest.raises(
        UserError, match=r"SVHN in .* is damaged.* has 7 bytes .*put test_32x32\.mat into"
    ) as caught:
        load_split(config(root), "test")
    assert "\n" not in str(caught.value)

    def refuse(*args, **kwargs):
        raise urllib.error.URLError("no network")

    monkeypatch.setattr("urllib.request.urlopen", refuse)
    with pytest.raises(UserError, match=r"fetching it failed.*no network"):
        load_split(DataConfig(dataset="svhn", train_path=str(root)), "test")


def test_parquet(tmp_path, pixels, write_parquet):
    for part, images in pixels.items():
        labels = [n % 10 for n in range(len(images))]
        write_parquet(
            tmp_path / "cropped_digits" / f"{part}-0.parquet",
            images,
            labels,
            image_column="image",
            names=tuple("0123456789"),
        )
    parquet = {"dataset": "svhn", "format": "parquet", "train_path": str(tmp_path)}
    train = load_split(DataConfig(**parquet, train_split="train+extra"), "train")
    joined = np.concatenate([pixels["train"], pixels["extra"]])
    assert torch.equal(train.images, channels_first(joined))
    assert len(load_split(DataConfig(**parquet), "test")) == 10
