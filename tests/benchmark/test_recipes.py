"""The recipes are the published ones, and evaluations accept them."""

import pytest

from solo_adv.benchmark.recipes import PROTOCOLS, RECIPES, settings_of
from solo_adv.evaluation import RobustSettings
from solo_adv.support.errors import UserError


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_evaluations_accept_every_recipe(recipe, protocol, norm):
    found = settings_of(recipe, protocol, dataset="cifar10", norm=norm)
    if found["features"] == "auto":  # the command line replaces it
        found["features"] = "hidden"
    settings = RobustSettings.from_config({**found, "norm": norm})
    assert settings.linear == ("robust" if protocol == "alf" else "standard")
    assert settings.finetune == ("adversarial" if protocol == "aff" else "none")


def test_the_leaderboards_training_is_as_published():
    found = RobustSettings.from_config(
        settings_of("robustssl", "aff", dataset="cifar10", norm="linf")
    )
    head, tuning = found.head, found.finetune_recipe
    assert (head.optimizer, head.lr, head.weight_decay) == ("sgd", 0.01, 2e-4)
    assert (head.batch_size, head.epochs, head.milestones) == (512, 25, (10, 20))
    assert head.epochs_for(50_000) == 25
    assert (tuning.loss, tuning.beta, tuning.lr, tuning.batch_size) == ("trades", 6.0, 0.1, 128)
    assert (tuning.epochs, tuning.milestones, tuning.weight_decay) == (25, (15, 20), 2e-4)
    assert (found.train_steps, found.train_step_size) == (10, pytest.approx(2 / 255))
    assert (found.steps, found.step_size, found.random_start) == (20, pytest.approx(2 / 255), True)
    assert found.features == "backbone"


def test_autolora_has_no_learning_rate_to_choose():
    for dataset in ("cifar10", "cifar100"):
        found = RobustSettings.from_config(
            settings_of("autolora", "aff", dataset=dataset, norm="linf")
        )
        head, tuning = found.head, found.finetune_recipe
        assert (tuning.loss, tuning.rank, tuning.beta, tuning.batch_size) == ("autolora", 8, 6, 128)
        assert (head.batch_size, head.weight_decay, head.augment) == (512, 2e-4, True)
        for part in (head, tuning):
            assert (part.lr, part.epochs, part.milestones, part.automatic_lr) == (0.1, 50, (), True)


@pytest.mark.parametrize(("dataset", "rate"), [("cifar100", 0.05), ("stl10", 0.1), ("own", 0.01)])
def test_the_learning_rate_of_heads_is_that_of_the_data_set(dataset, rate):
    assert settings_of("robustssl", "slf", dataset=dataset, norm="linf")["head"]["lr"] == rate


def test_converged_differs_from_the_leaderboard_in_the_head_of_slf_alone():
    for protocol in PROTOCOLS:
        one, other = (
            settings_of(recipe, protocol, dataset="cifar10", norm="linf")
            for recipe in ("robustssl", "converged")
        )
        if protocol == "slf":
            assert other.pop("head") == {"optimizer": "lbfgs"}
            one.pop("head")
        assert one == other


def test_a_quick_look_takes_a_fifth_of_the_updates_and_epochs():
    def of(recipe, protocol):
        return RobustSettings.from_config(
            settings_of(recipe, protocol, dataset="cifar10", norm="linf")
        )

    images = 500
    for protocol in ("slf", "aff"):
        assert of("quick", protocol).head.optimizer == "lbfgs"
    seen = []
    for recipe in ("quick", "robustssl"):
        head = of(recipe, "alf").head.for_images(images)
        seen.append(head.epochs_for(images) * head.updates_per_epoch(images))
    assert seen[0] == pytest.approx(200, rel=0.1)
    assert seen[1] == pytest.approx(1000, rel=0.1)
    quick, usual = (of(recipe, "aff").finetune_recipe for recipe in ("quick", "robustssl"))
    assert (quick.epochs, usual.epochs) == (5, 25)
    assert (quick.loss, quick.beta, quick.lr) == (usual.loss, usual.beta, usual.lr)


@pytest.mark.parametrize(
    ("recipe", "protocol", "said"), [("best", "slf", "recipe"), ("paper", "knn", "protocols")]
)
def test_unknown_names_are_refused(recipe, protocol, said):
    with pytest.raises(UserError, match=said):
        settings_of(recipe, protocol, dataset="cifar10", norm="linf")
