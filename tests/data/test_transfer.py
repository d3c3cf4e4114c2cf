"""What a report says about a transfer, and the form that another data set's images get."""

import numpy as np
import pytest
import torch
from PIL import Image

from solo_adv.data import DataConfig, ImageSet, load_split
from solo_adv.data.labelled import load_labelled
from solo_adv.data.transfer import transfer_on_record, transfer_words

LABELS = [0, 1, 2] * 4


def record(pretraining, config):
    return transfer_on_record(pretraining, config, load_split(config, "train"))


@pytest.fixture
def folder(tmp_path, write_folder):
    """A function that writes twelve images of the given sizes."""

    def write(name, *sizes):
        random = np.random.default_rng(0)
        images = [
            random.integers(0, 256, (*sizes[n % len(sizes)], 3), dtype=np.uint8) for n in range(12)
        ]
        return write_folder(tmp_path / name, images, LABELS)

    return write


def custom(root, **options):
    return DataConfig(dataset="custom", train_path=str(root), **options)


def test_the_same_data_is_no_transfer(folder):
    root = folder("one", (8, 8))
    config = custom(root, image_size=4)
    assert record({"dataset": "custom", "train_path": f"{root}/../one"}, config) == {}
    assert record({"dataset": "digits"}, DataConfig(dataset="digits")) == {}


@pytest.mark.parametrize("resident", [True, False])
def test_sizes_are_width_by_height(folder, resident):
    root = folder("one", (6, 9))
    config = custom(root, image_size=5, resident=resident)
    found = record({"dataset": "cifar10"}, config)
    assert found["transfer"]["stored_size"] == "9x6"
    assert transfer_words(found) == (
        f"pretrained on cifar10, judged on custom ('{root}'), resized from 9x6 to 5x5"
    )


def test_other_words_for_sizes(folder):
    mixed = record({"dataset": "cifar10"}, custom(folder("mixed", (6, 9), (8, 8)), image_size=5))
    assert transfer_words(mixed).endswith("resized from various sizes to 5x5")
    same = record({"dataset": "cifar10"}, custom(folder("same", (5, 5)), image_size=5))
    assert transfer_words(same).endswith("not resized (5x5)")
    digits = record({}, DataConfig(dataset="digits", image_size=12))
    assert transfer_words(digits) == (
        "pretrained on data that the checkpoint does not name, judged on digits, "
        "resized from 8x8 to 12x12"
    )
    assert transfer_words({"name": "digits"}) == ""


@pytest.mark.parametrize(
    ("pretraining", "said"),
    [
        ({"dataset": "digits"}, ""),
        (
            {"dataset": "cifar10"},
            "Transfer: pretrained on cifar10, judged on digits, resized from 8x8 to 16x16\n",
        ),
    ],
)
def test_commands_say_that_they_judge_on_other_data(pretraining, said, capsys):
    load_labelled(pretraining, {"dataset": "digits"})
    assert capsys.readouterr().err == said


def test_an_image_that_cannot_be_read_has_no_size(folder):
    root = folder("one", (8, 8))
    (root / "bird" / "002.png").write_bytes(b"nothing")
    train = load_split(custom(root, image_size=5, resident=False), "train")
    assert train.stored_size == "8x8"


def test_a_subset_keeps_the_size():
    images = torch.zeros(3, 3, 4, 4, dtype=torch.uint8)
    whole = ImageSet("x", torch.zeros(3, dtype=torch.long), images=images, stored_size="8x8")
    assert whole.subset([1]).stored_size == "8x8"


def test_images_get_the_size_of_the_pretraining_images_or_the_encoders(folder):
    root = str(folder("one", (8, 8)))
    own = {"dataset": "custom", "train_path": root}
    for stated, size in ({"image_size": 6}, 6), ({"image_size": None}, 7), ({}, 7):
        pretraining = {"dataset": "cifar10", **stated}
        config = DataConfig.for_evaluation(pretraining, own, input_size=7)
        image, _ = load_split(config, "train")[0]
        assert image.shape == (3, size, size)
    chosen = {**own, "image_size": 5}
    assert DataConfig.for_evaluation({"image_size": 6}, chosen, input_size=7).image_size == 5
    # On its own data set the encoder is judged as it was pretrained.
    assert DataConfig.for_evaluation(own, {}, input_size=7).image_size is None


def test_a_data_set_that_has_moved(tmp_path):
    old, new = tmp_path / "old", tmp_path / "new"
    for place in (old, new):
        place.mkdir()
    moved = {"train_path": str(new)}
    both = {"dataset": "cifar10", "train_path": str(old), "val_path": str(old)}
    assert DataConfig.for_evaluation(both, moved).val_path is None
    apart = {**both, "val_path": str(tmp_path)}
    assert DataConfig.for_evaluation(apart, moved).val_path == str(tmp_path)


def test_the_centre_is_kept(folder):
    """A wide image is cropped, not squeezed."""
    root = folder("one", (6, 12))
    file = root / "bird" / "002.png"
    pixels = np.zeros((6, 12, 3), dtype=np.uint8)
    pixels[:, 3:9] = 200
    Image.fromarray(pixels).save(file)
    train = load_split(custom(root, image_size=6), "train")
    assert (train.images[train.labels == train.classes.index("bird")][0] == 200).all()
