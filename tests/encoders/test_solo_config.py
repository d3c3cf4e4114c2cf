"""What we assume where solo-learn's configs say nothing is what solo-learn's code does."""

import importlib

import pytest
from omegaconf import OmegaConf

from solo_adv.crops import CropSpec
from solo_adv.data import DataConfig
from solo_adv.encoders import solo_config

IMAGENET = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
AUGMENTATION = {
    "rrc": {"enabled": True, "crop_min_scale": 0.2, "crop_max_scale": 1.0},
    "color_jitter": {
        "prob": 0.8,
        "brightness": 0.4,
        "contrast": 0.4,
        "saturation": 0.2,
        "hue": 0.1,
    },
    "grayscale": {"prob": 0.2},
    "gaussian_blur": {"prob": 0.5},
    "solarization": {"prob": 0.0},
    "equalization": {"prob": 0.0},
    "horizontal_flip": {"prob": 0.5},
    "crop_size": 32,
    "num_crops": 2,
}


def config(dataset="cifar10", backbone="resnet18", **changes):
    cfg = {
        "method": "byol",
        "backbone": {"name": backbone, "kwargs": {}},
        "data": {"dataset": dataset, "train_path": "./datasets", "format": "dali"},
        "augmentations": [AUGMENTATION],
    }
    return {**cfg, **changes}


@pytest.mark.parametrize(
    ("dataset", "backbone", "named", "expected"),
    [
        ("cifar10", "resnet18", None, "cifar_padding2"),
        ("cifar100", "resnet50", "auto", "cifar_padding2"),
        ("cifar10", "resnet18", "cifar", "cifar"),
        ("custom", "resnet18", None, "imagenet"),
        ("imagenet100", "resnet18", None, "imagenet"),
        ("stl10", "resnet18", None, "imagenet"),
        ("cifar10", "vit_tiny", None, "imagenet"),
    ],
)
def test_stem(dataset, backbone, named, expected):
    cfg = config(dataset, backbone)
    cfg["backbone"]["stem"] = named
    assert solo_config.stem(cfg) == expected


@pytest.mark.parametrize("dataset", ["cifar10", "cifar100", "stl10", "imagenet", "custom"])
def test_statistics_are_those_of_its_pipelines(dataset, solo_learn):
    its = importlib.import_module("solo.data.pretrain_dataloader")
    pipeline = its.build_transform_pipeline(dataset, OmegaConf.create(AUGMENTATION))
    normalize = pipeline.transforms[-1]
    mean, std = solo_config.statistics(config(dataset))
    assert list(normalize.mean) == mean
    assert list(normalize.std) == std


def test_statistics_of_custom_data_are_the_first_augmentations():
    named = {**AUGMENTATION, "mean": [0.5, 0.4, 0.3], "std": [0.2, 0.2, 0.1]}
    assert solo_config.statistics(config("custom")) == IMAGENET
    assert solo_config.statistics(config("custom", augmentations=[named])) == (
        [0.5, 0.4, 0.3],
        [0.2, 0.2, 0.1],
    )
    # solo-learn overrides these for the data sets that it knows
    ignored = config("cifar10", augmentations=[named])
    assert solo_config.statistics(ignored) == solo_config.statistics(config("cifar10"))


@pytest.mark.parametrize(
    ("sizes", "size", "views"),
    [
        ([(32, 2)], 32, 2),
        ([(32, 1), (32, 1)], 32, 2),
        ([(224, 2), (96, 6)], 224, 2),
        ([(32, 2), ([32, 32], 14)], 32, 16),
    ],
)
def test_views_of_one_size(sizes, size, views):
    items = [{**AUGMENTATION, "crop_size": side, "num_crops": count} for side, count in sizes]
    cfg = config(augmentations=items)
    assert solo_config.view_size(cfg) == size
    assert solo_config.views(cfg) == views


@pytest.mark.parametrize(("dataset", "size"), [("cifar10", 32), ("custom", 224)])
def test_without_augmentations_sizes_are_solo_learns_usual_ones(dataset, size):
    cfg = config(dataset, augmentations=None)
    assert solo_config.view_size(cfg) == size
    assert solo_config.views(cfg) == 2


def test_a_complete_config_is_one_that_our_rooms_accept(tmp_path):
    cfg = config("imagenet", data={"dataset": "imagenet", "train_path": str(tmp_path)})
    complete = solo_config.complete(cfg)
    assert DataConfig.from_config(complete["data"]).dataset == "custom"
    spec = CropSpec.from_config(complete["crops"])
    assert (spec.num_crops, spec.size, spec.scale, spec.saturation) == (2, 32, (0.2, 1.0), 0.2)
    assert (spec.jitter_prob, spec.blur_prob, spec.solarize_prob) == (0.8, 0.5, 0.0)
    assert complete["backbone"]["stem"] == "imagenet"
    assert (complete["data"]["mean"], complete["data"]["std"]) == IMAGENET


def test_settings_in_the_config_are_kept():
    cfg = config()
    cfg["data"] |= {"mean": [0.1, 0.1, 0.1], "std": [0.2, 0.2, 0.2], "image_size": 48}
    cfg["crops"] = {"num_crops": 16, "size": None}
    complete = solo_config.complete(cfg)
    assert complete["data"]["mean"] == [0.1, 0.1, 0.1]
    assert complete["data"]["image_size"] == 48
    assert complete["data"]["format"] == "image_folder"
    assert complete["crops"] == {"num_crops": 16, "size": 32}


def test_interpolations_of_args_json_are_resolved():
    args = {"data": {"image_size": 40}, "augmentations": [{"crop_size": "${data.image_size}"}]}
    assert solo_config.resolved(args)["augmentations"] == [{"crop_size": 40}]
