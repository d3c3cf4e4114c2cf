"""Command lines as people type them are accepted, or answered with the right spelling."""

import sys

import pytest

from solo_adv.support.arguments import accepted_arguments
from solo_adv.support.configs import next_command
from solo_adv.support.errors import UserError


def accepted(*arguments):
    return accepted_arguments(arguments, short={"data": "data.dataset"}, optional=["max_steps"])


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("checkpoint=runs/a-ep=0.ckpt", "checkpoint='runs/a-ep=0.ckpt'"),
        ("checkpoint='runs/a-ep=0.ckpt'", "checkpoint='runs/a-ep=0.ckpt'"),
        ("data.train_path=~/images", "data.train_path='~/images'"),
        ("data.train_path=/data/images (1)/a", "data.train_path='/data/images (1)/a'"),
        ("checkpoint.dir=läufe", "checkpoint.dir='läufe'"),
        ("checkpoint.dir=runs (1)", "checkpoint.dir='runs (1)'"),
        ("name=größe", "name='größe'"),
        ("data=digits", "data.dataset=digits"),
        ("data={dataset: digits}", "data={dataset: digits}"),
        ("max_steps=3", "++max_steps=3"),
        ("+max_steps=3", "++max_steps=3"),
        ("max_epochs=1,2", "max_epochs=1,2"),
        ("adversary.epsilon=4/255,8/255", "adversary.epsilon=4/255,8/255"),
        ("crops.scale=[1", "crops.scale=[1"),
        ("wandb.entity=", "wandb.entity="),
        ("--config-name=cfamc", "--config-name=cfamc"),
        ("--multi", "--multi"),
    ],
)
def test_what_is_accepted(typed, meant):
    assert accepted(typed) == [meant]


@pytest.mark.parametrize(
    ("typed", "right"),
    [
        ("data = digits", "data=digits"),
        ("data= digits", "data=digits"),
        ("data =digits", "data=digits"),
        ("--config_name cfamc", "--config-name cfamc"),
        ("--config_name=cfamc", "--config-name cfamc"),
        ("--confg-name cfamc", "--config-name cfamc"),
        ("--checkpoint runs/a", "checkpoint=runs/a"),
        ("--max-epochs=3", "max_epochs=3"),
        ("--again -m", "again=VALUE"),
    ],
)
def test_the_right_spelling_comes_first(typed, right):
    with pytest.raises(UserError) as error:
        accepted(*typed.split())
    assert right in str(error.value).partition(", ")[0]


@pytest.mark.parametrize(
    ("started_as", "next_one"),
    [
        ("main_pretrain.py", "python main_robust.py 'checkpoint=a b'"),
        ("/my code/main_pretrain.py", "python '/my code/main_robust.py' 'checkpoint=a b'"),
        ("/usr/bin/solo-adv-pretrain", "solo-adv-robust 'checkpoint=a b'"),
        ("-c", "python -m solo_adv.commands.robust 'checkpoint=a b'"),
    ],
)
def test_the_next_command_is_started_like_the_running_one(monkeypatch, started_as, next_one):
    monkeypatch.setattr("sys.argv", [started_as])
    monkeypatch.setattr(sys.modules["__main__"], "__spec__", None)
    assert next_command("robust", "checkpoint=a b") == next_one
