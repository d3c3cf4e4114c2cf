"""A key of another name, or in another place, is found."""

import pytest
from hydra import compose, initialize_config_module
from omegaconf import OmegaConf

from solo_adv.support.spelling import dotted_keys, meant_keys


@pytest.fixture(scope="module")
def keys():
    """The keys of a pretraining config."""
    with initialize_config_module("solo_adv.conf", version_base="1.3"):
        return list(dotted_keys(OmegaConf.to_container(compose("cfamc"))))


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("eps", "adversary.epsilon"),
        ("epsilon", "adversary.epsilon"),
        ("lr", "optimizer.lr"),
        ("learning_rate", "optimizer.lr"),
        ("optimizer.learning_rate", "optimizer.lr"),
        ("batch_size", "optimizer.batch_size"),
        ("epochs", "max_epochs"),
        ("stepsize", "adversary.step_size"),
        ("gpus", "devices"),
        ("num_crop", "crops.num_crops"),
        ("workers", "data.num_workers"),
    ],
)
def test_what_was_meant(written, meant, keys):
    assert meant_keys(written, keys)[0] == meant


def test_nonsense_means_nothing(keys):
    assert meant_keys("xyzzy", keys) == []
