"""How many images a run trains on."""

import pytest
from omegaconf import OmegaConf

from solo_adv.cost.work import train_images


@pytest.mark.parametrize(
    ("data", "images"),
    [
        ({"dataset": "cifar10", "fraction": 0.1}, 5_000),
        ({"dataset": "stl10", "fraction": -1, "train_split": "train"}, 5_000),
        ({"dataset": "stl10", "fraction": -1, "train_split": "train+unlabelled"}, 105_000),
        ({"dataset": "stl10", "fraction": 0.5, "train_split": "unlabelled"}, 50_000),
        ({"dataset": "svhn", "fraction": -1, "train_split": "train+extra"}, 604_388),
    ],
)
def test_train_images(data, images):
    assert train_images(OmegaConf.create({"data": data})) == images
    assert train_images(OmegaConf.create({"data": {**data, "fraction": -1}}), 123) == 123
