import os
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from solo_adv.data import DataConfig, load_split
from solo_adv.data.datasets import kept_rows
from solo_adv.support.errors import UserError

LABELS = [0, 1, 2] * 4


def config(path, **options):
    options.setdefault("dataset", "cifar10")
    return DataConfig(format="parquet", train_path=str(path), **options)


def channels_first(images):
    return torch.from_numpy(images.transpose(0, 3, 1, 2).copy())


@pytest.fixture
def folder(tmp_path, pixels, write_parquet):
    """Two train shards and a test file."""
    write_parquet(tmp_path / "train-00000-of-00002.parquet", pixels[:7], LABELS[:7])
    write_parquet(tmp_path / "train-00001-of-00002.parquet", pixels[7:], LABELS[7:])
    write_parquet(tmp_path / "test-00000-of-00001.parquet", pixels[:3], [2, 1, 0], kind="PNG")
    return tmp_path


@pytest.mark.parametrize("resident", [True, False])
def test_round_trip(folder, pixels, resident):
    train = load_split(config(folder, resident=resident), "train")
    assert train.resident is resident
    assert torch.equal(torch.stack([image for image, _ in train]), channels_first(pixels))
    assert train.labels.tolist() == LABELS
    assert train.classes == ("plane", "car", "bird")
    test = load_split(config(folder, resident=resident), "test")
    assert torch.equal(torch.stack([image for image, _ in test]), channels_first(pixels[:3]))
    assert test.labels.tolist() == [2, 1, 0]


@pytest.mark.parametrize("resident", [True, False])
def test_fraction_keeps_pixels_and_labels_together(folder, pixels, resident):
    train = load_split(config(folder, fraction=0.5, resident=resident), "train")
    rows = kept_rows(12, 0.5)
    assert torch.equal(torch.stack([image for image, _ in train]), channels_first(pixels[rows]))
    assert train.labels.tolist() == np.array(LABELS)[rows].tolist()
    assert len(load_split(config(folder, fraction=0.5), "test")) == 3


def test_fraction_decodes_only_what_it_keeps(tmp_path, pixels, write_parquet):
    kept = set(kept_rows(12, 0.5).tolist())
    cells = [image if row in kept else b"not an image" for row, image in enumerate(pixels)]
    write_parquet(tmp_path / "train-0.parquet", cells, LABELS)
    assert len(load_split(config(tmp_path, fraction=0.5), "train")) == 6


@pytest.mark.parametrize("test_name", ["test-0", "val-0", "validation-00000-of-00001"])
def test_files_in_a_subfolder_and_other_names_of_the_test_split_are_found(
    tmp_path, pixels, write_parquet, test_name
):
    write_parquet(tmp_path / "plain_text/train-0.parquet", pixels, LABELS)
    write_parquet(tmp_path / f"plain_text/{test_name}.parquet", pixels[:2], LABELS[:2])
    assert len(load_split(config(tmp_path), "train")) == 12
    assert len(load_split(config(tmp_path), "test")) == 2


def test_file_glob_and_val_path(folder):
    shard = folder / "train-00001-of-00002.parquet"
    assert len(load_split(config(shard), "train")) == 5
    assert load_split(config(shard), "test") is None
    glob = config(folder / "train-*.parquet", val_path=str(shard))
    assert len(load_split(glob, "train")) == 12
    assert len(load_split(glob, "test")) == 5


def test_no_test_split(tmp_path, pixels, write_parquet):
    write_parquet(tmp_path / "train-0.parquet", pixels, LABELS)
    assert load_split(config(tmp_path), "test") is None


def test_cifar100_takes_the_fine_labels(tmp_path, pixels, encode):
    table = pa.table(
        {
            "image": [encode(image) for image in pixels[:2]],  # plain binary
            "label": [9, 9],
            "fine_label": [5, 7],
        }
    )
    pq.write_table(table, tmp_path / "train-0.parquet")
    fine = load_split(config(tmp_path, dataset="cifar100"), "train")
    assert fine.labels.tolist() == [5, 7]
    assert fine.classes == ()
    assert fine.num_classes == 8
    custom = load_split(config(tmp_path, dataset="custom"), "train")
    assert (custom.labels.tolist(), custom.classes) == ([0, 0], ("9",))


@pytest.mark.parametrize("given", [None, LABELS])
def test_unlabelled(tmp_path, pixels, write_parquet, given):
    write_parquet(tmp_path / "train-0.parquet", pixels, given)
    train = load_split(config(tmp_path, no_labels=given is not None), "train")
    assert train.labels.tolist() == [-1] * 12
    assert train.classes == ()


def test_image_size(folder):
    assert load_split(config(folder, image_size=4), "train").images.shape == (12, 3, 4, 4)


def test_streamed_fingerprint_sees_what_is_stored(folder):
    streamed = config(folder, resident=False)
    whole = load_split(streamed, "train").fingerprint()
    assert whole == load_split(config(folder), "train").fingerprint()
    assert whole != load_split(config(folder, resident=False, fraction=0.9), "train").fingerprint()
    assert whole != load_split(config(folder, resident=False, image_size=4), "train").fingerprint()


def test_missing_files(tmp_path, pixels, write_parquet):
    with pytest.raises(UserError, match=r"No train\*\.parquet.*no Parquet file"):
        load_split(config(tmp_path), "train")
    write_parquet(tmp_path / "shard.parquet", pixels, LABELS)
    with pytest.raises(UserError, match=r"it holds shard\.parquet"):
        load_split(config(tmp_path), "train")
    with pytest.raises(UserError, match=r"No test\*\.parquet or val\*\.parquet"):
        load_split(config(tmp_path, val_path=str(tmp_path)), "test")


def test_several_folders_are_not_mixed(tmp_path, pixels, write_parquet):
    write_parquet(tmp_path / "a/train-0.parquet", pixels, LABELS)
    write_parquet(tmp_path / "b/train-0.parquet", pixels, LABELS)
    with pytest.raises(UserError, match=r"several sub-folders \(a, b\)"):
        load_split(config(tmp_path), "train")


def test_missing_image_column(tmp_path, pixels, write_parquet):
    write_parquet(tmp_path / "train-0.parquet", pixels, LABELS, image_column="picture")
    with pytest.raises(UserError, match="no column img or image; it has picture, label"):
        load_split(config(tmp_path), "train")


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"img": [1, 2]}, "Column img .* must hold encoded images; it is int64"),
        ({"img": [b"", b""], "label": [[0, 1], [1, 0]]}, "Column label .* must hold one label for"),
        ({"img": [b"", b""], "label": [0.5, 1.0]}, "Column label .* must hold one label for"),
        ({"img": [b"", b""], "label": [0, None]}, "Column label is null in row 1 of"),
    ],
)
def test_wrong_columns(tmp_path, table, message):
    pq.write_table(pa.table(table), tmp_path / "train-0.parquet")
    with pytest.raises(UserError, match=message):
        load_split(config(tmp_path), "train")


def test_null_image(folder, pixels, write_parquet):
    cells = [*pixels[:4], None, *pixels[5:7]]
    file = write_parquet(folder / "train-00001-of-00002.parquet", cells, LABELS[:7])
    with pytest.raises(UserError, match=f"img.bytes is null in row 4 of '{file}'"):
        load_split(config(folder), "train")


@pytest.mark.parametrize("resident", [True, False])
def test_corrupt_image(folder, pixels, write_parquet, resident):
    cells = [*pixels[:3], b"RIFFxxxxWEBPnonsense", *pixels[4:7]]
    file = write_parquet(folder / "train-00001-of-00002.parquet", cells, LABELS[:7])
    with pytest.raises(UserError, match=f"Cannot read the image in row 3 of '{file}'"):
        list(load_split(config(folder, resident=resident), "train"))


def test_corrupt_file(tmp_path):
    (tmp_path / "train-0.parquet").write_bytes(b"PAR1 or not")
    with pytest.raises(UserError, match=r"Cannot read .* as Parquet") as caught:
        load_split(config(tmp_path), "train")
    assert "\n" not in str(caught.value)


def test_empty_file(tmp_path, write_parquet):
    write_parquet(tmp_path / "train-0.parquet", [], [])
    with pytest.raises(UserError, match="holds no rows"):
        load_split(config(tmp_path), "train")


def test_real_cifar10():
    path = os.environ.get("SOLO_ADV_CIFAR10_PARQUET")
    if not path:
        pytest.skip("SOLO_ADV_CIFAR10_PARQUET does not name a folder with CIFAR-10 as Parquet")
    train = load_split(config(path), "train")
    test = load_split(config(path), "test")
    assert train.images.shape == (50_000, 3, 32, 32)
    assert test.images.shape == (10_000, 3, 32, 32)
    assert train.labels.bincount().tolist() == [5000] * 10
    assert test.labels.bincount().tolist() == [1000] * 10
    assert train.classes[0] == "airplane"
    # the usual means of CIFAR-10
    mean = [float((train.images[:, channel] / 255.0).mean()) for channel in range(3)]
    assert mean == pytest.approx([0.4914, 0.4822, 0.4465], abs=1e-4)


def test_without_pyarrow_one_line_says_what_to_install(monkeypatch, tmp_path):
    for name in ("parquet", "columns", "vocabulary"):
        monkeypatch.delitem(sys.modules, f"solo_adv.data.{name}", raising=False)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UserError, match=r"pip install 'solo-adv\[parquet\]'"):
        load_split(config(tmp_path), "train")
