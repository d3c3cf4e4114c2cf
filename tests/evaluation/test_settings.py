"""The settings of a robust evaluation are checked, and their defaults are the paper's."""

import re
from dataclasses import fields

import pytest
from hydra import compose, initialize_config_module

from solo_adv.evaluation import RobustSettings
from solo_adv.support.errors import UserError
from solo_adv.support.settings import plain


def test_settings_defaults_are_the_papers():
    settings = RobustSettings.from_config({})
    assert settings == RobustSettings()
    assert settings.epsilons == (4 / 255, 8 / 255, 16 / 255)
    assert (settings.steps, settings.step_size, settings.restarts) == (20, 0.01, 1)
    assert (settings.train_epsilon, settings.train_steps) == (8 / 255, 5)
    assert RobustSettings.from_config({"epsilons": "8/255"}).epsilons == (8 / 255,)
    assert RobustSettings(epsilons=("8/255", 0.01)).epsilons == (0.01, 8 / 255)


def test_the_commands_defaults_are_those_of_the_settings():
    with initialize_config_module("solo_adv.conf", version_base="1.3"):
        config = plain(compose("robust"))
    besides = {
        "checkpoint",
        "encoder",
        "results_dir",
        "accelerator",
        "data",
        "head_weights",
        "again",
    }
    assert besides <= set(config)
    given = {key: value for key, value in config.items() if key not in besides}
    assert set(given) == {field.name for field in fields(RobustSettings)}
    # The command line knows the encoder and takes the features that it has.
    assert RobustSettings.from_config(given) == RobustSettings(features="auto")


def test_further_norms():
    settings = RobustSettings.from_config(
        {"epsilons": "8/255", "step_size": 0.02, "other_norms": {"l2": "auto", "linf": None}}
    )
    found = [(ball.norm, ball.epsilon, step_size) for ball, step_size in settings.attacks]
    assert found == [("linf", 8 / 255, 0.02), *(("l2", radius, 0.1) for radius in (0.25, 0.5, 1.0))]
    assert settings.shown.norm == "linf"
    assert RobustSettings.from_config(settings.to_config()) == settings
    assert "other_norms" in settings.decisive()
    assert "other_norms" not in RobustSettings(other_norms={"l2": None}).decisive()


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"protocol": "corner"}, "Unknown protocol 'corner'. Accepted: central, crops"),
        ({"space": "pixel"}, "Unknown space 'pixel'. Accepted: crop, image"),
        ({"num_crops": 0}, "num_crops must be a whole number of at least 1"),
        ({"crop_augmentation": "none"}, "Unknown crop_augmentation 'none'"),
        ({"finetune": True}, "Unknown finetune 'True'. Accepted: adversarial, none"),
        ({"finetune": "adversarial", "protocol": "crops"}, "use protocol=central"),
        ({"finetune_recipe": 3}, "finetune_recipe must be a group of settings"),
        ({"finetune_recipe": {"steps": 1}}, "Unknown key in finetune_recipe 'steps'"),
        ({"finetune_recipe": {"epochs": 0}}, "finetune_recipe.epochs must be"),
        ({"finetune_recipe": {"lr": 0}}, "finetune_recipe.lr must be"),
        ({"finetune_recipe": {"batch_size": 1}}, "finetune_recipe.batch_size must be"),
        ({"finetune_recipe": {"weight_decay": -1}}, "finetune_recipe.weight_decay must be"),
        ({"finetune_recipe": {"augment": 1}}, "finetune_recipe.augment must be true or false"),
        ({"autoattack": 1}, "autoattack must be true or false"),
        ({"alarm_images": -1}, "alarm_images must be a whole number of at least 0"),
        ({"linear": "rle"}, "Unknown linear 'rle'. Accepted: robust, standard"),
        ({"features": "projector"}, "Unknown features 'projector'"),
        ({"epsilon": 0.1}, "Unknown key in the evaluation 'epsilon'. Did you mean 'epsilons'"),
        ({"epsilons": [8]}, "Did you mean 8/255"),
        ({"epsilons": []}, "one or more lengths above 0"),
        ({"epsilons": [0, 0.1]}, "one or more lengths above 0"),
        ({"epsilons": None}, "epsilons is a fraction"),
        ({"other_norms": "l2"}, "other_norms gives each norm its radii"),
        ({"other_norms": {"l1": [0.5]}}, "Unknown other_norms 'l1'"),
        ({"other_norms": {"linf": [0.1]}}, "give its radii as epsilons"),
        ({"other_norms": {"l2": [0]}}, "other_norms.l2 must be one or more lengths above 0"),
        (
            {"other_norms": {"l2": [0.5]}, "protocol": "crops"},
            "The norm l2 bounds the change of a whole image",
        ),
        ({"steps": 0}, "steps must be a whole number of at least 1"),
        ({"steps": True}, "steps must be a whole number"),
        ({"step_size": -1}, "step_size is a fraction"),
        ({"restarts": 0}, "restarts must be"),
        ({"random_start": "no"}, "random_start must be true or false"),
        ({"attack_loss": "dlr"}, "attack_loss 'dlr'"),
        ({"max_images": 0}, "max_images must be"),
        ({"batch_size": 1.5}, "batch_size must be"),
        ({"train_epsilon": 8}, "train_epsilon is a fraction"),
        ({"train_steps": 0}, "train_steps must be"),
        ({"train_step_size": "x"}, "train_step_size is a fraction"),
        ({"knn_k": 0}, "knn_k must be"),
        ({"knn_temperature": 0}, "knn_temperature must be"),
        ({"seed": -1}, "seed must be"),
        ({"head": "adam"}, "head must be a group of settings"),
        ({"corruptions": True}, "corruptions must be generated or the path of a folder; got True"),
        ({"corruptions": " "}, "corruptions must be generated or the path"),
        ({"corruptions": "generated", "frost_pictures": 3}, "frost_pictures must be the path"),
        ({"head": {"rl": 1}}, "Unknown key in head 'rl'"),
    ],
)
def test_bad_settings(setting, message):
    with pytest.raises(UserError, match=re.escape(message)) as caught:
        RobustSettings.from_config(setting)
    assert "\n" not in str(caught.value)
