"""What is published of the paths in a report."""

import pytest

from solo_adv.zoo.folders import Folders

REPORT = {
    "checkpoint": "/home/me/runs/cfamc/v1/e.ckpt",
    "config": {"head_weights": "/home/me/results/head.safetensors", "epsilons": ["8/255"]},
    "pretrain_config": {
        "checkpoint": {"dir": "/home/me/runs"},
        "data": {"train_path": "/data/cifar10", "val_path": "datasets/cifar10"},
    },
    "alarms": ["See /home/me/runs/cfamc/v1/e.ckpt: it is odd."],
    "seed": 5,
}


def test_of_a_run_the_part_below_the_runs_stays_and_of_others_the_name():
    published = Folders(REPORT).without(REPORT)
    assert published == {
        "checkpoint": "cfamc/v1/e.ckpt",
        "config": {"head_weights": "head.safetensors", "epsilons": ["8/255"]},
        "pretrain_config": {
            "checkpoint": {"dir": "runs"},
            "data": {"train_path": "cifar10", "val_path": "datasets/cifar10"},
        },
        "alarms": ["See cfamc/v1/e.ckpt: it is odd."],
        "seed": 5,
    }


@pytest.mark.parametrize(
    ("checkpoint", "kept"),
    [
        ("C:\\me\\runs\\cfamc\\v1\\e.ckpt", "cfamc/v1/e.ckpt"),
        ("/e.ckpt", "e.ckpt"),
        ("trained_models/cfamc/v1/e.ckpt", "trained_models/cfamc/v1/e.ckpt"),
    ],
)
def test_paths_of_either_system(checkpoint, kept):
    folders = Folders({"checkpoint": checkpoint})
    assert folders.without(f"`{checkpoint}` is it") == f"`{kept}` is it"


@pytest.mark.parametrize("text", ["my/data/x", "/database", "/data-2/x"])
def test_a_path_that_is_part_of_another_name_stays(text):
    folders = Folders({"checkpoint": "runs/cfamc/v1/e.ckpt", "train_path": "/data"})
    assert folders.without(text) == text
    assert folders.without("in '/data', '/data/x'.") == "in 'data', 'data/x'."
