"""The printed command, read by Hydra, asks for exactly the settings of the report."""

import shlex
from dataclasses import replace

import pytest
from hydra import compose, initialize_config_module
from hydra.core.global_hydra import GlobalHydra

from solo_adv.evaluation import RobustSettings
from solo_adv.report.repeating import command
from solo_adv.support.settings import plain
from tests.report.reports import make_report

USUAL = RobustSettings()
SETTINGS = {
    "usual": USUAL,
    "l2": RobustSettings(norm="l2", linear="robust"),
    "several norms": RobustSettings(other_norms={"l2": "auto"}),
    "many": replace(
        USUAL,
        epsilons=(2 / 255, 0.1),
        steps=7,
        step_size=1 / 3,
        autoattack=True,
        max_images=50,
        corruptions="/data/it's here = yes, [no]/CIFAR-10-C",
        head=replace(USUAL.head, lr=1e-5, milestones=(3, 5), augment=True),
    ),
    "a word of Hydra": replace(USUAL, corruptions="null"),
}


def read(line):
    """The config that Hydra makes of a command line."""
    python, script, *overrides = shlex.split(line)
    assert (python, script) == ("python", "main_robust.py")
    GlobalHydra.instance().clear()
    with initialize_config_module("solo_adv.conf", version_base="1.3"):
        return plain(compose("robust", overrides))


@pytest.mark.parametrize("case", SETTINGS)
def test_the_command_asks_for_the_same_settings(case):
    report = make_report(SETTINGS[case], checkpoint="a b/it's=ep9.ckpt")
    given = read(command(report))
    assert given["checkpoint"] == report.checkpoint
    own = {name: given[name] for name in SETTINGS[case].to_config()}
    assert RobustSettings.from_config(own) == SETTINGS[case]


def test_usual_settings_are_not_repeated():
    words = shlex.split(command(make_report()))
    # `auto` in the config stands for the features that the encoder has.
    assert words[2:] == ["checkpoint=trained_models/cfamc/one.ckpt", "features=hidden"]


@pytest.mark.parametrize("part", ["2.5%", "20_per_class"])
def test_drawn_labels_are_asked_for_again(part):
    report = make_report()
    report.data["labels"] = {"part": part, "seed": 3, "per_class": [20, 20]}
    data = read(command(report))["data"]
    assert (data["labels"], data["labels_seed"]) == (part, 3)


def test_what_else_was_given_is_part_of_the_command():
    given = {
        "data.dataset": "custom",
        "data.val_path": "/my data/{test}",
        "data.labels": "10%",
        "data.labels_seed": 2,
        "encoder.mean": [0.5, 0.25, 1e-5],
        "head_weights": "results/a=b/head.safetensors",
    }
    report = make_report(given=given)
    report.data["labels"] = {"part": "10%", "seed": 2, "per_class": [20, 20]}
    found = read(command(report))
    data = {name: value for name, value in found["data"].items() if value is not None}
    assert {f"data.{name}": data[name] for name in data} == {
        name: value for name, value in given.items() if name.startswith("data.")
    }
    assert found["encoder"]["mean"] == given["encoder.mean"]
    assert found["head_weights"] == given["head_weights"]
