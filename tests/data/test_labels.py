"""Few labels: which images are drawn, and which settings are refused."""

import math

import numpy as np
import pytest
import torch

from solo_adv.data import DataConfig, load_split
from solo_adv.data.labels import LabelledPart, drawn_rows, labels_on_record
from solo_adv.support.errors import UserError

COUNTS = (40, 7, 200, 15)


@pytest.fixture
def labels():
    """Labels of four classes of different sizes, in mixed order."""
    sorted_by_class = torch.arange(4).repeat_interleave(torch.tensor(COUNTS))
    order = torch.randperm(sum(COUNTS), generator=torch.Generator().manual_seed(1))
    return sorted_by_class[order]


def drawn(labels, value, seed=0, classes=()):
    return drawn_rows(labels, classes, LabelledPart.read(value), seed)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.01, "1%"),
        ("0.01", "1%"),
        (1e-05, "0.001%"),
        ("1%", "1%"),
        (" 2.5 % ", "2.5%"),
        (1.0, "100%"),
        ("100%", "100%"),
        ("20_per_class", "20_per_class"),
        ("20 per class", "20_per_class"),
    ],
)
def test_equal_settings_have_one_text(value, text):
    assert str(LabelledPart.read(value)) == text
    assert LabelledPart.read(text) == LabelledPart.read(value)
    assert DataConfig(dataset="digits", labels=value).labels == text


@pytest.mark.parametrize("value", ["10%", "20%", 0.5])
def test_each_class_gives_its_share(labels, value):
    share = float(str(value).rstrip("%")) / (100 if isinstance(value, str) else 1)
    rows = drawn(labels, value)
    found = labels[torch.from_numpy(rows)].bincount()
    assert all(abs(int(n) - share * count) <= 0.5 for n, count in zip(found, COUNTS, strict=True))
    assert rows.tolist() == sorted(set(rows.tolist()))


def test_a_number_of_each_class(labels):
    assert labels[torch.from_numpy(drawn(labels, "7_per_class"))].bincount().tolist() == [7] * 4
    assert drawn(labels, "100%").tolist() == list(range(sum(COUNTS)))


def test_the_seed_alone_decides(labels):
    first = drawn(labels, "5_per_class")
    torch.manual_seed(3)
    np.random.seed(3)
    assert np.array_equal(drawn(labels, "5_per_class"), first)
    assert not np.array_equal(drawn(labels, "5_per_class", seed=1), first)
    assert set(first) <= set(drawn(labels, "7_per_class"))


def test_classes_are_drawn_independently_and_evenly():
    """Over many seeds, every image is drawn equally often."""
    labels = torch.tensor([0, 1] * 5)
    times = np.zeros(10)
    for seed in range(500):
        times[drawn(labels, "2_per_class", seed)] += 1
    expected, deviation = 500 * 0.4, math.sqrt(500 * 0.4 * 0.6)
    assert (abs(times - expected) < 4 * deviation).all()


@pytest.mark.parametrize(
    ("value", "classes", "message"),
    [
        ("5%", ("a", "b", "c", "d"), "labels=5% leaves no image of class 'b', which has 7"),
        ("8_per_class", (), "asks for 8 images of class '1', which has 7"),
        ("10%", ("a", "b", "c", "d", "e"), "no image of class 'e', which has 0"),
    ],
)
def test_a_class_without_enough_images(labels, value, classes, message):
    with pytest.raises(UserError, match=message) as caught:
        drawn(labels, value, classes=classes)
    assert "\n" not in str(caught.value)


def test_unlabelled_images_cannot_be_drawn(labels):
    labels[3] = -1
    with pytest.raises(UserError, match="some train images have no label"):
        drawn(labels, "10%")


@pytest.mark.parametrize("value", [0, 1, 20, 0.0, -0.1, 1.5, math.nan, True])
@pytest.mark.parametrize("form", [lambda v: v, lambda v: f"{v}"])
def test_numbers_that_are_no_share(value, form):
    with pytest.raises(UserError, match=r"data\.labels is .*such as 0\.01 or 1%.*20_per_class"):
        DataConfig(dataset="digits", labels=form(value))


@pytest.mark.parametrize("value", ["0%", "101%", "0_per_class", "x%", "", "per_class", "1%%", []])
def test_wrong_words(value):
    with pytest.raises(UserError, match=r"data\.labels is .*; it must be a share"):
        DataConfig(dataset="digits", labels=value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"labels": "1%", "labels_seed": -1}, "labels_seed must be a whole number of at least 0"),
        ({"labels": "1%", "labels_seed": 2**32}, "labels_seed must be a number .* at most"),
        ({"labels": "1%", "labels_seed": "a"}, "labels_seed must be a whole number"),
        ({"labels_seed": 3}, "labels_seed=3 draws nothing without data.labels"),
        ({"labels": "1%", "no_labels": True}, "which data.no_labels=true ignores"),
    ],
)
def test_wrong_settings(settings, message):
    with pytest.raises(UserError, match=message):
        DataConfig(dataset="digits", **settings)


def test_pretraining_refuses_what_only_evaluations_use():
    with pytest.raises(UserError, match=r"data\.labels is for evaluations.*data\.fraction"):
        DataConfig.from_config({"dataset": "digits", "labels": "1%"})
    assert DataConfig.from_config({"dataset": "digits", "labels": None}).labels is None


def test_the_train_split_shrinks_and_the_test_split_does_not():
    few = DataConfig(dataset="digits", labels="10_per_class", labels_seed=4)
    train = load_split(few, "train")
    whole = load_split(DataConfig(dataset="digits"), "train")
    rows = drawn(whole.labels, "10_per_class", seed=4)
    assert torch.equal(train.images, whole.images[torch.from_numpy(rows)])
    assert train.labels.bincount().tolist() == [10] * 10
    assert train.num_classes == 10
    assert len(load_split(few, "test")) == 500


def test_parquet_and_fraction(tmp_path, pixels, write_parquet):
    names = ["plane", "car", "bird"]
    write_parquet(tmp_path / "train-0.parquet", np.concatenate([pixels] * 4), [0, 1, 2] * 16)
    options = {"dataset": "cifar10", "format": "parquet", "train_path": str(tmp_path)}
    for resident in (True, False):
        few = DataConfig(**options, labels="25%", resident=resident)
        train = load_split(few, "train")
        assert train.labels.bincount().tolist() == [4, 4, 4]
        assert train.classes == tuple(names)
        for image, label in train:
            column = image.permute(1, 2, 0).numpy()
            (place,) = {n for n, one in enumerate(pixels) if np.array_equal(one, column)}
            assert place % 3 == label
    part = load_split(DataConfig(**options, fraction=0.5), "train")
    both = load_split(DataConfig(**options, fraction=0.5, labels="2_per_class"), "train")
    rows = drawn(part.labels, "2_per_class")
    assert torch.equal(both.images, part.images[torch.from_numpy(rows)])


def test_the_record(labels):
    assert labels_on_record(None, 0, labels) == {}
    assert labels_on_record("10%", 2, torch.tensor([0, 2, 2])) == {
        "labels": {"part": "10%", "seed": 2, "per_class": [1, 0, 2]}
    }
