"""Words such as ``no`` are refused wherever a config has true or false.

Python takes every text but the empty one as true, so ``random_start=no`` would turn the option on.
"""

import copy

import pytest
from hydra import compose, initialize_config_module
from omegaconf import OmegaConf

from solo_adv import UserError
from solo_adv.evaluation.settings import RobustSettings
from solo_adv.methods import MIXINS
from solo_adv.training.config import parse_cfg
from tests.taught import taught

WORDS = ("no", "off", "0", "false")
DIGITS = ("data.dataset=digits", "data.train_path=null", "data.val_path=null")


def composed(name, *overrides):
    with initialize_config_module("solo_adv.conf", version_base=None):
        return compose(name, overrides=list(overrides))


def booleans(config, prefix=""):
    """The dotted keys of all booleans in nested dicts and lists of dicts."""
    for key, value in config.items():
        if isinstance(value, dict):
            yield from booleans(value, f"{prefix}{key}.")
        elif isinstance(value, bool):
            yield prefix + key


def refusal(config, key, word, parse):
    """The error's message, or nothing where the word is accepted."""
    changed = copy.deepcopy(config)
    OmegaConf.update(changed, key, word, force_add=True)
    try:
        parse(changed)
    except UserError as error:
        return str(error)
    return ""


def accepted_words(config, key, parse):
    for word in WORDS:
        message = refusal(config, key, word, parse)
        if not all(part in message for part in (key.rsplit(".", 1)[-1], "true or false", word)):
            yield key, word, message


QUICK = ("cfamc", "dynacl", "fare", "robust_emp")  # together they have every section


@pytest.mark.parametrize(
    "method",
    [m if m in QUICK else pytest.param(m, marks=pytest.mark.slow) for m in sorted(MIXINS)],
)
def test_every_boolean_of_pretraining(method):
    config = composed(method, *DIGITS, *taught(method))
    complete = parse_cfg(copy.deepcopy(config))
    keys = {
        key
        for one in (config, complete)
        for key in booleans(OmegaConf.to_container(one, resolve=True))
    }
    assert len(keys) > 15
    assert [found for key in sorted(keys) for found in accepted_words(config, key, parse_cfg)] == []


@pytest.mark.parametrize(
    ("optimizer", "option"),
    [
        *(("lars", name) for name in ("nesterov", "clip_lr", "exclude_bias_n_norm")),
        *(("sgd", name) for name in ("nesterov", "maximize")),
        ("adamw", "amsgrad"),
    ],
)
def test_every_boolean_of_an_optimizer(optimizer, option):
    config = composed("cfamc", *DIGITS, f"optimizer.name={optimizer}", "optimizer.kwargs=null")
    key = f"optimizer.kwargs.{option}"
    assert list(accepted_words(config, key, parse_cfg)) == []


def test_every_boolean_of_robust_evaluation():
    config = composed("robust")
    keys = list(booleans(OmegaConf.to_container(config, resolve=True)))
    assert {"random_start", "autoattack", "compile", "again", "finetune_recipe.augment"} <= set(
        keys
    )

    def parse(changed):
        RobustSettings.from_config(
            {k: v for k, v in changed.items() if k in RobustSettings.__dataclass_fields__}
        )

    own = [key for key in keys if key.split(".")[0] in RobustSettings.__dataclass_fields__]
    assert [found for key in own for found in accepted_words(config, key, parse)] == []
    assert set(keys) - set(own) == {"again"}


def test_the_boolean_of_robust_evaluation_that_no_dataclass_holds(command, tmp_path):
    status, _, err = command("main_robust", f"checkpoint={tmp_path}/none.ckpt", "again=no")
    assert status == 2
    assert "again must be true or false" in err


def test_every_boolean_of_linear_evaluation(command, tmp_path):
    config = composed("linear")
    keys = list(booleans(OmegaConf.to_container(config, resolve=True)))
    assert "augment" in keys
    for key in keys:
        if key.startswith("auto_resume"):
            continue  # for solo-learn's own command, which reads it
        status, _, err = command(
            "main_linear", f"pretrained_feature_extractor={tmp_path}/none.ckpt", f"{key}=no"
        )
        assert status == 2
        assert f"{key} must be true or false" in err, err
