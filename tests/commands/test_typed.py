"""Command lines as people type them: each row has a kind, an example and the right behaviour.

Right is what the config then holds, or the beginning of the message. The arguments go through the
command line's own reading and Hydra's parser, and are then set in the config of ``cfamc``; nothing
is trained. Arguments of Lightning's Trainer have a table of their own,
``tests/training/test_trainer_arguments.py``, and folders ``tests/data/test_found_folders.py``.
"""

import os
import shlex

import pytest
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import OmegaConf

from solo_adv.encoders.checkpoint import find_checkpoint
from solo_adv.support.arguments import accepted_arguments
from solo_adv.support.cli import _message
from solo_adv.support.configs import composed
from solo_adv.support.errors import UserError
from solo_adv.support.trainer_keys import OPTIONAL_KEYS
from solo_adv.training.trainer_arguments import complete_trainer_settings

# kind, what is typed, the key and the value that the config then has
TAKEN = [
    ("nothing unusual", "max_epochs=5", "max_epochs", 5),
    ("a fraction", "adversary.epsilon=4/255", "adversary.epsilon", "4/255"),
    ("a path with =", "data.train_path=a/b=1/c", "data.train_path", "a/b=1/c"),
    (
        "the checkpoint of an older run",
        "teacher.checkpoint=r/x-ep=9.ckpt",
        "teacher.checkpoint",
        "r/x-ep=9.ckpt",
    ),
    ("a quoted path with =", "\"data.train_path='a/b=1'\"", "data.train_path", "a/b=1"),
    ("a path with spaces", "'data.train_path=/my images/a b'", "data.train_path", "/my images/a b"),
    ("a path with brackets", "'data.train_path=images (1)'", "data.train_path", "images (1)"),
    ("a path with a comma", "'data.train_path=/a,b (1)/c'", "data.train_path", "/a,b (1)/c"),
    ("a path with a quote", '"data.train_path=/it\'s"', "data.train_path", "/it's"),
    ("the home directory", "data.train_path=~/images", "data.train_path", "~/images"),
    ("letters beyond ASCII", "checkpoint.dir=läufe", "checkpoint.dir", "läufe"),
    ("other scripts", "data.train_path=/数据/训练", "data.train_path", "/数据/训练"),
    ("a list", "'crops.scale=[0.2, 1.0]'", "crops.scale", [0.2, 1.0]),
    ("an argument of the Trainer", "limit_val_batches=2", "limit_val_batches", 2),
    ("the same with +", "+limit_val_batches=2", "limit_val_batches", 2),
    ("the same with ++", "++limit_val_batches=2", "limit_val_batches", 2),
    ("no logger", "+logger=false", "logger", False),
    ("a strategy", "strategy=ddp", "strategy", "ddp"),
    ("several machines", "num_nodes=2", "num_nodes", 2),
    ("a run to continue", "resume_from_checkpoint=r/v-1", "resume_from_checkpoint", "r/v-1"),
    ("the last run", "resume_from_checkpoint=latest", "resume_from_checkpoint", "latest"),
    ("a new key", "+optimizer.kwargs.eta=0.1", "optimizer.kwargs.eta", 0.1),
    ("+ for a key that is there", "+backbone.kwargs.width=9", "backbone.kwargs.width", 9),
    ("an empty value", "wandb.entity=", "wandb.entity", ""),
]

# kind, what is typed, how the message begins
REFUSED = [
    ("spaces around =", "max_epochs = 5", "Write max_epochs=5, without spaces around ="),
    ("a space after =", "max_epochs= 5", "Write max_epochs=5, without spaces around ="),
    ("a space before =", "max_epochs =5", "Write max_epochs=5, without spaces around ="),
    ("an underscore in a flag", "--config_name cfamc", "Write --config-name cfamc, not"),
    ("the same with =", "--config_name=cfamc", "Write --config-name cfamc, not"),
    ("a flag that is a key", "--checkpoint runs/a", "Write checkpoint=runs/a, without dashes"),
    ("the same with =", "--max-epochs=3", "Write max_epochs=3, without dashes"),
    ("a misspelled flag", "--confg-name cfamc", "Write --config-name cfamc, not"),
    ("a short name", "eps=4/255", "Unknown key in the config 'eps'. Did you mean 'adversary.eps"),
    ("the field's name", "lr=0.1", "Unknown key in the config 'lr'. Did you mean 'optimizer.lr'"),
    (
        "a key without section",
        "batch_size=8",
        "Unknown key in the config 'batch_size'. Did you mean 'optimizer.batch_size'",
    ),
    (
        "another word",
        "adversary.alpha=0.1",
        "Unknown key in adversary 'alpha'. Did you mean 'adversary.step_size'",
    ),
    ("a slip", "max_epoch=5", "Unknown key in the config 'max_epoch'. Did you mean 'max_epochs'"),
    ("a slip in a section", "optimizer.lrr=1", "Unknown key in optimizer 'lrr'. Did you mean"),
    ("a strategy that forks", "strategy=ddp_spawn", "strategy=ddp_spawn is not supported"),
    ("a sharded strategy", "strategy=fsdp", "strategy=fsdp is not supported"),
    ("a logger's name", "logger=csv", "logger must name a class, as Hydra does"),
    ("an open bracket", "'crops.scale=[1'", "crops.scale=[1"),
]


@pytest.fixture(scope="module")
def config():
    """The config of cfamc as it is composed, which refuses unknown keys."""
    found = composed("cfamc", ["data=digits"])
    OmegaConf.set_struct(found, True)
    return found


def configured(typed, config):
    """The config after a command line, and the overrides as Hydra parsed them."""
    arguments = accepted_arguments(shlex.split(typed), short={}, optional=OPTIONAL_KEYS)
    overrides = OverridesParser.create().parse_overrides(arguments)
    cfg = config.copy()
    ConfigLoaderImpl._apply_overrides_to_config(overrides, cfg)
    OmegaConf.set_struct(cfg, False)
    complete_trainer_settings(cfg)
    return cfg, overrides


@pytest.mark.parametrize(("kind", "typed", "key", "value"), TAKEN, ids=[row[0] for row in TAKEN])
def test_what_is_taken(kind, typed, key, value, config):
    cfg, (override,) = configured(typed, config)
    assert OmegaConf.select(cfg, key) == value
    assert not override.is_sweep_override()


@pytest.mark.parametrize(("kind", "typed", "words"), REFUSED, ids=[row[0] for row in REFUSED])
def test_what_is_refused(kind, typed, words, config):
    with pytest.raises((UserError, HydraException)) as refused:
        configured(typed, config)
    message = _message(refused.value)
    assert message.startswith(words)
    assert "\n" not in message


@pytest.mark.parametrize(
    ("typed", "jobs"),
    [
        ("adversary.epsilon=2/255,4/255", ["2/255", "4/255"]),
        ("teacher.checkpoint='a/x-ep=1.ckpt','a/x-ep=2.ckpt'", ["a/x-ep=1.ckpt", "a/x-ep=2.ckpt"]),
        ("max_epochs=1,2,3", [1, 2, 3]),
    ],
)
def test_a_sweep_stays_a_sweep(typed, jobs, config):
    (argument,) = accepted_arguments([typed], short={}, optional=OPTIONAL_KEYS)
    override = OverridesParser.create().parse_override(argument)
    assert override.is_sweep_override()
    values = [getattr(value, "text", value) for value in override.value().list]
    assert [str(value) for value in values] == [str(job) for job in jobs]


@pytest.mark.parametrize("typed", ["runs/v1", "runs/v1/x-ep=1.ckpt", "runs/latest", "latest"])
def test_what_stands_for_a_checkpoint(typed, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for place in ("runs", "trained_models/cfamc"):
        for version, age in (("v0", 100), ("v1", 0)):
            folder = tmp_path / place / version
            folder.mkdir(parents=True)
            for name in ("x-ep=0.ckpt", "x-ep=1.ckpt"):
                (folder / name).write_bytes(b"")
                os.utime(folder / name, (1e9 - age, 1e9 - age))
    found = find_checkpoint(typed)
    assert found.parts[-2:] == ("v1", "x-ep=1.ckpt")
