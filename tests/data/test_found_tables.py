"""What Parquet files really look like: each row has a kind, an example and the right behaviour."""

import json
import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from solo_adv.data import DataConfig, load_split
from solo_adv.support.errors import UserError

COUNT = 6


@pytest.fixture
def write(encode):
    """Write a file of images with further columns."""
    image = encode(np.zeros((4, 4, 3), dtype=np.uint8), "PNG")

    def write(path, features=None, image_column="img", **columns):
        count = len(next(iter(columns.values()), range(COUNT)))
        table = pa.table({image_column: [image] * count, **columns})
        if features:
            info = json.dumps({"info": {"features": features}})
            table = table.replace_schema_metadata({"huggingface": info})
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, path)

    return write


def load(root, split="train", **settings):
    config = DataConfig(dataset="custom", format="parquet", train_path=str(root), **settings)
    return load_split(config, split)


MARKED = {"kind": {"_type": "ClassLabel", "names": ["ape", "bee"]}}

# kind, columns, further arguments of write, labels, classes, part of what is said
READ = [
    ("class", {"class": [0, 1, 2] * 2}, {}, [0, 1, 2] * 2, (), "column class"),
    ("Category", {"Category": [0, 1]}, {}, [0, 1], (), "column Category"),
    ("target", {"target": [0, 1], "text": ["a", "b"]}, {}, [0, 1], (), "column target"),
    ("marked", {"kind": [1, 0], "n": [7, 8]}, {"features": MARKED}, [1, 0], ("ape", "bee"), ""),
    ("from 1", {"label": [1, 2, 3]}, {}, [0, 1, 2], ("1", "2", "3"), "labels, 1 to 3, are numb"),
    ("large", {"label": [10**12, 5, 5]}, {}, [1, 0, 0], ("5", str(10**12)), "are numbered from 0"),
    ("sparse", {"label": [0, 40, 7]}, {}, [0, 2, 1], ("0", "7", "40"), "labels, 0 to 40, are"),
    ("one is missing", {"label": [0, 1, 3]}, {}, [0, 1, 3], (), "NO images of 2"),
    ("negative", {"label": [-1, 1, 1]}, {}, [0, 1, 1], ("-1", "1"), "labels, -1 to 1, are"),
    ("partly -1", {"label": [-1, 0, 1]}, {}, [-1, 0, 1], (), "1 images without labels"),
    ("all -1", {"label": [-1, -1]}, {}, [-1, -1], (), "2 images without labels"),
    ("texts", {"label": ["bee", "ape"]}, {}, [1, 0], ("ape", "bee"), "labels, ape to bee, are"),
    ("digits", {"label": ["10", "9"]}, {}, [1, 0], ("9", "10"), "labels, 9 to 10, are"),
    ("bools", {"label": [True, False]}, {}, [1, 0], ("False", "True"), "False to True"),
    ("whole floats", {"label": [0.0, 1.0]}, {}, [0, 1], (), ""),
    (
        "categories of pandas",
        {"label": pa.array(["b", "a"]).dictionary_encode()},
        {},
        [1, 0],
        ("a", "b"),
        "",
    ),
    ("64 bits", {"label": pa.array([2**64 - 1, 0], pa.uint64())}, {}, [1, 0], ANY := None, ""),
    ("no column", {}, {}, [-1] * COUNT, (), "6 images without labels"),
    ("a path beside", {"file_name": ["a", "b"]}, {}, [-1, -1], (), "2 images without labels"),
]


@pytest.mark.parametrize("row", READ, ids=lambda row: row[0])
def test_labels(tmp_path, write, capsys, row):
    _, columns, further, labels, classes, said = row
    write(tmp_path / "train-0.parquet", **further, **columns)
    train = load(tmp_path)
    assert train.labels.tolist() == labels
    assert classes is None or train.classes == classes
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    assert said in line


# kind, columns of the train file, columns of the test file, message of the refusal
REFUSED = [
    ("an unknown name", {"breed": [0, 1]}, None, "Set data.label_column=breed, or data.no_labels"),
    ("two names", {"class": [0], "target": [1]}, None, "set data.label_column=class or target"),
    ("a test label", {"label": [5, 7]}, {"label": [6]}, "holds the label 6, which is not among"),
    ("a high test label", {"label": [0, 1]}, {"label": [9]}, r"label 9.* train split's \(0 to 1"),
    ("texts and numbers", {"label": ["a", "b"]}, {"label": [0]}, "holds the label 0, which is not"),
    ("one-hot", {"label": [[0.0, 1.0]]}, None, "must hold one label for each image"),
    ("fractions", {"label": [0.5]}, None, "must hold one label for each image"),
]


@pytest.mark.parametrize("row", REFUSED, ids=lambda row: row[0])
def test_labels_that_are_refused(tmp_path, write, row):
    _, train, test, message = row
    write(tmp_path / "train-0.parquet", **train)
    if test:
        write(tmp_path / "test-0.parquet", **test)
    with pytest.raises(UserError, match=message) as caught:
        load(tmp_path, "test" if test else "train")
    assert "\n" not in str(caught.value)


def test_the_named_column_is_read(tmp_path, write):
    write(tmp_path / "train-0.parquet", label=[0, 1], breed=[3, 4])
    assert load(tmp_path, label_column="breed").classes == ("3", "4")
    with pytest.raises(UserError, match=r"data.label_column 'bred'.*'breed'"):
        load(tmp_path, label_column="bred")


def test_both_splits_number_the_classes_alike(tmp_path, write):
    """Labels that are missing from the test split, or from a part of the train split."""
    write(tmp_path / "train-0.parquet", label=["cat", "ape"])
    write(tmp_path / "train-1.parquet", label=["dog", "bee"])
    write(tmp_path / "test-0.parquet", label=["dog", "cat"])
    train, test = load(tmp_path), load(tmp_path, "test")
    assert train.labels.tolist() == [2, 0, 3, 1]
    assert test.labels.tolist() == [3, 2]
    assert train.classes == test.classes == ("ape", "bee", "cat", "dog")
    part = load(tmp_path, fraction=0.25)
    assert part.classes == train.classes
    assert set(part.labels.tolist()) < {0, 1, 2, 3}


def test_names_of_the_classes_agree(tmp_path, write):
    def features(*names):
        return {"label": {"_type": "ClassLabel", "names": names}}

    write(tmp_path / "train-0.parquet", features("ape", "bee", "cat"), label=[0, 1, 2])
    write(tmp_path / "test-0.parquet", features("cat", "ape"), label=[0, 1, -1])
    test = load(tmp_path, "test")
    assert test.labels.tolist() == [2, 0, -1]
    assert test.classes == ("ape", "bee", "cat")
    write(tmp_path / "test-0.parquet", features("cat", "cow"), label=[0, 1])
    with pytest.raises(UserError, match="names the class 'cow', which is not among"):
        load(tmp_path, "test")
    write(tmp_path / "train-0.parquet", features("ape", "bee"), label=[0, 2])
    with pytest.raises(UserError, match="holds the label 2, which is not among"):
        load(tmp_path)


def test_the_image_column_may_be_marked(tmp_path, write):
    features = {"photo": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": ["a", "b"]}}
    write(tmp_path / "train-0.parquet", features, "photo", label=[1, 0])
    assert load(tmp_path).labels.tolist() == [1, 0]


# kind, files, what to give, train files, test files
LAYOUTS = [
    ("converted", ["train/0000", "test/0000"], ".", 1, 1),
    ("converted, with a config", ["default/train/0000", "default/test/0000"], ".", 1, 1),
    ("converted, large", ["x/partial-train/0000", "x/partial-validation/0000"], ".", 1, 1),
    ("several of each", ["train/0000", "train/0001", "validation/0000"], ".", 2, 1),
    ("the split's folder", ["train/0000", "train/0001"], "train", 2, 0),
    ("shards in data", ["data/train-0-of-2", "data/train-1-of-2", "data/test-0"], ".", 2, 1),
    ("AppleDouble", ["train/0000", "train/._0000"], ".", 1, 0),
    ("a hidden copy", ["data/train-0", ".ipynb_checkpoints/train-0"], ".", 1, 0),
]


@pytest.mark.parametrize("row", LAYOUTS, ids=lambda row: row[0])
def test_layouts(tmp_path, write, row):
    _, files, given, train, test = row
    for file in files:
        write(tmp_path / f"{file}.parquet", label=[0, 1])
    assert len(load(tmp_path / given)) == 2 * train
    found = load(tmp_path / given, "test")
    assert (len(found) if found else 0) == 2 * test


def test_a_link_to_a_file_is_no_further_file(tmp_path, write):
    write(tmp_path / "train-0.parquet", label=[0, 1])
    (tmp_path / "train-a.parquet").symlink_to("train-0.parquet")
    assert len(load(tmp_path)) == 2


def test_a_glob_of_both_splits_is_refused(tmp_path, write):
    for name in ("train-0", "train-1", "val-0"):
        write(tmp_path / f"{name}.parquet", label=[0, 1])
    with pytest.raises(UserError, match=re.escape("both splits, such as train-0.parquet and val-")):
        load(tmp_path / "*.parquet")
    assert len(load(tmp_path / "tr*.parquet")) == 4
