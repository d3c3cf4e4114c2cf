"""A real run that is evaluated and published, for the tests of the catalogue and of the zoo."""

from types import SimpleNamespace

import pytest

from solo_adv.evaluation.evaluating import evaluate
from solo_adv.support.configs import composed
from solo_adv.training.pretraining import pretrain
from solo_adv.zoo import publish

NAME = "cfamc_tiny_digits"
TINY = [
    "data=digits",
    "data.fraction=0.2",
    "max_epochs=1",
    "crops.num_crops=2",
    "backbone.kwargs.width=8",
    "method_kwargs.proj_hidden_dim=24",
    "method_kwargs.proj_output_dim=8",
    "knn_eval.enabled=false",
    "auto_resume.enabled=false",
    "accelerator=cpu",
]
QUICK = [
    "max_images=60",
    "steps=3",
    "epsilons=[2/255,8/255]",
    "alarm_images=0",
    "head.epochs=1",
    "head.min_updates=30",
    "train_steps=1",
    "accelerator=cpu",
]


def config(name, *overrides):
    return composed(name, overrides)


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """A finished run (``.checkpoint``), and a directory with its two reports (``.reports``)."""
    root = tmp_path_factory.mktemp("run")
    checkpoint = pretrain(config("cfamc", *TINY, f"checkpoint.dir={root / 'trained_models'}"))
    for linear in ("standard", "robust"):
        cfg = config("robust", *QUICK, f"linear={linear}", f"results_dir={root / 'results'}")
        cfg.checkpoint = str(checkpoint)
        evaluate(cfg, quiet=True)
    return SimpleNamespace(root=root, checkpoint=checkpoint, reports=root / "results")


@pytest.fixture(scope="session")
def published(trained, tmp_path_factory):
    """A zoo directory (``.directory``) with that run as its only model (``.entry``)."""
    directory = tmp_path_factory.mktemp("published")
    entry = publish(
        trained.checkpoint.parent,
        name=NAME,
        summary="A tiny encoder that only the tests know.",
        zoo=directory,
        reports=[trained.reports],
        minutes=0.1,
    )
    return SimpleNamespace(directory=directory, entry=entry, name=NAME)
