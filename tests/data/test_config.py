import pytest
from omegaconf import OmegaConf

from solo_adv.data import DataConfig
from solo_adv.support.errors import UserError


def test_solo_learns_group_is_accepted(tmp_path):
    group = OmegaConf.create(
        {
            "dataset": "custom",
            "train_path": str(tmp_path),
            "val_path": None,
            "format": "image_folder",
            "fraction": 0.5,
            "no_labels": True,
            "num_workers": 2,
            "num_classes": 3,
            "num_large_crops": 2,
            "num_small_crops": 0,
            "mean": [0.5, 0.5, 1],
        }
    )
    config = DataConfig.from_config(group)
    assert config.fraction == 0.5
    assert config.mean == [0.5, 0.5, 1.0]
    assert type(config.mean) is list


def test_cifar_looks_in_datasets_unless_told():
    assert DataConfig(dataset="cifar10").train_path == "./datasets"
    assert DataConfig(dataset="cifar100", train_path="there").train_path == "there"


@pytest.mark.parametrize(
    ("group", "message"),
    [
        ({"dataset": "cifra10"}, "Did you mean 'cifar10'.*imagenet100"),
        ({}, "data.dataset is missing"),
        ({"dataset": "digits", "trainpath": "x"}, "key in data 'trainpath'.*'train_path'"),
        ({"dataset": "cifar10", "format": "h5"}, "data.format 'h5'.*parquet"),
        ({"dataset": "digits", "fraction": 0}, "data.fraction is 0;"),
        ({"dataset": "digits", "fraction": 1.5}, "data.fraction is 1.5"),
        ({"dataset": "digits", "fraction": "half"}, "data.fraction is 'half'"),
        ({"dataset": "digits", "image_size": 0}, "data.image_size must be a whole number"),
        (
            {"dataset": "digits", "num_workers": -1},
            "data.num_workers must be a whole number of at least 0; got -1",
        ),
        (
            {"dataset": "digits", "num_workers": None},
            "data.num_workers must be a whole number of at least 0; got None",
        ),
        ({"dataset": "digits", "no_labels": "no"}, "data.no_labels must be true or false; got no"),
        ({"dataset": "digits", "resident": "yes"}, "data.resident is 'yes'"),
        (
            {"dataset": "digits", "max_resident_gib": -1},
            "data.max_resident_gib must be a number of at least 0; got -1",
        ),
        ({"dataset": "digits", "mean": [125.3, 123.0, 113.9]}, "data.mean is .*divide it by 255"),
        ({"dataset": "digits", "mean": [0.5, -0.5, 0.5]}, "data.mean is .*none can be below 0"),
        ({"dataset": "digits", "mean": 0.5}, "data.mean must be three numbers"),
        ({"dataset": "digits", "mean": [0.5, 0.5]}, "data.mean must be three numbers"),
        ({"dataset": "digits", "mean": [0.5, 0.5, "x"]}, "data.mean must be three numbers"),
        ({"dataset": "digits", "std": [0.2, 0, 0.2]}, "data.std is .*so none can be 0"),
        ({"dataset": "digits", "std": [63.0, 62.1, 66.7]}, "data.std is .*divide it by 255"),
        ({"dataset": "digits", "std": [0.2, 0.2, float("nan")]}, "data.std must be three numbers"),
        ({"dataset": "digits", "label_column": "y"}, "data.label_column=y is for Parquet files"),
        ({"dataset": "custom"}, "data.train_path is missing"),
        ({"dataset": "custom", "train_path": "/no/such"}, "train_path does not exist: '/no/such'"),
        ({"dataset": "cifar10", "format": "parquet"}, "train_path does not exist: './datasets'"),
        ({"dataset": "imagenet100", "train_path": ".", "val_path": "/no/such"}, "data.val_path"),
    ],
)
def test_errors_are_one_line(group, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=message) as caught:
        DataConfig.from_config(group)
    assert "\n" not in str(caught.value)


def test_evaluation_takes_the_pretraining_data_with_labels():
    pretraining = {"dataset": "digits", "no_labels": True, "fraction": 0.5, "image_size": 8}
    config = DataConfig.for_evaluation(pretraining, {"fraction": None, "num_workers": 2})
    assert not config.no_labels
    assert (config.fraction, config.image_size, config.num_workers) == (0.5, 8, 2)


def test_evaluation_on_another_set_keeps_only_the_form_of_the_images(tmp_path):
    pretraining = {
        "dataset": "custom",
        "train_path": str(tmp_path),
        "val_path": str(tmp_path),
        "fraction": 0.5,
        "image_size": 8,
    }
    config = DataConfig.for_evaluation(pretraining, {"dataset": "digits"})
    assert (config.train_path, config.val_path, config.fraction) == (None, None, -1)
    assert config.image_size == 8


FOLDERS = {"dataset": "custom", "train_path": ".", "image_size": 256}


@pytest.mark.parametrize(
    ("pretraining", "overrides", "input_size", "crop"),
    [
        (FOLDERS, {}, 224, 224),
        (FOLDERS, {}, 256, None),
        (FOLDERS, {"image_size": 256}, 224, None),  # what is set is taken
        (FOLDERS, {"crop_size": 128}, 224, 128),
        (FOLDERS, {"dataset": "digits"}, 224, 224),
        ({"dataset": "digits", "image_size": 32}, {}, 24, None),
    ],
)
def test_folders_are_judged_on_the_centre(pretraining, overrides, input_size, crop):
    config = DataConfig.for_evaluation(pretraining, overrides, input_size=input_size)
    assert config.crop_size == crop
    whole = DataConfig.for_evaluation(pretraining, overrides, input_size=input_size, whole=True)
    assert whole.crop_size == overrides.get("crop_size")


def test_a_crop_needs_a_larger_image():
    with pytest.raises(UserError, match=r"data\.crop_size=32 crops the centre of larger images"):
        DataConfig(dataset="digits", image_size=16, crop_size=32)
    with pytest.raises(UserError, match=r"data\.crop_size is for evaluations"):
        DataConfig.from_config({"dataset": "digits", "image_size": 16, "crop_size": 8})
