import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import nn

from solo_adv.adversaries import PGD
from solo_adv.encoders.classifier import Classifier
from solo_adv.evaluation import (
    Bench,
    HeadRecipe,
    accuracy,
    clean_accuracy,
    evaluate_pgd,
    train_head,
    train_head_on_features,
)
from solo_adv.evaluation.heads.linear import unsettled
from solo_adv.support.errors import UserError

QUICK = HeadRecipe(lr=0.1, batch_size=50, epochs=1, min_updates=80)


def train(encoder, image_set, adversary=None, seed=5, recipe=QUICK):
    return train_head(
        encoder,
        image_set,
        num_classes=2,
        features_dim=2,
        recipe=recipe,
        adversary=adversary,
        device="cpu",
        seed=seed,
    )


def test_separable_features_are_learned():
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(4, (300,), generator=generator)
    features = 4 * torch.eye(8)[labels] + 0.3 * torch.randn(300, 8, generator=generator)
    head = train_head_on_features(features, labels, num_classes=4, recipe=QUICK, seed=0)
    assert accuracy(head(features), labels)[0] > 0.99
    shuffled = labels[torch.randperm(300, generator=generator)]
    assert accuracy(head(features), shuffled)[0] < 0.5


def test_robust_head_gives_up_the_fragile_feature(two_features, two_feature_set):
    train_set, test_set = two_feature_set(), two_feature_set(seed=1, name="toy test")
    heads = {
        "standard": train(two_features, train_set),
        "robust": train(two_features, train_set, PGD(8 / 255, 0.01, 5)),
    }
    clean, attacked = {}, {}
    for name, head in heads.items():
        classifier = Classifier(two_features, head)
        clean[name] = clean_accuracy(Bench(classifier, test_set)).top1.accuracy
        attacked[name] = evaluate_pgd(Bench(classifier, test_set), epsilon="8/255").accuracy
    assert clean["standard"] > 0.99
    assert attacked["standard"] < 0.2
    assert clean["robust"] > 0.8
    assert attacked["robust"] > 0.8


@pytest.mark.parametrize("adversary", [None, PGD(8 / 255, 0.01, 2)])
def test_encoder_is_left_bit_for_bit(two_features, two_feature_set, adversary):
    two_features.norm.weight.requires_grad_(False)
    before = copy.deepcopy(two_features.state_dict())
    head = train(two_features, two_feature_set(60), adversary)
    after = two_features.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert all(parameter.grad is None for parameter in two_features.parameters())
    asks = {name: p.requires_grad for name, p in two_features.named_parameters()}
    assert asks == {"gain": True, "norm.weight": False, "norm.bias": True}
    assert not any(module.training for module in two_features.modules())
    assert not head.training


def test_robust_training_freezes_an_encoder_in_training_mode(two_features, two_feature_set):
    class Watched(PGD):
        def perturb(self, images, loss_of, generator=None):
            assert not any(module.training for module in two_features.modules())
            assert not any(parameter.requires_grad for parameter in two_features.parameters())
            return super().perturb(images, loss_of, generator)

    two_features.train()
    before = copy.deepcopy(two_features.state_dict())
    train(two_features, two_feature_set(60), Watched(8 / 255, 0.01, 1))
    assert all(torch.equal(v, before[n]) for n, v in two_features.state_dict().items())
    assert all(module.training for module in two_features.modules())
    assert all(parameter.requires_grad for parameter in two_features.parameters())


@pytest.mark.parametrize("adversary", [None, PGD(8 / 255, 0.01, 1)])
def test_seed_alone_decides(two_features, two_feature_set, adversary):
    image_set = two_feature_set(60)
    state = torch.get_rng_state()
    first = train(two_features, image_set, adversary)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(1234)
    assert torch.equal(train(two_features, image_set, adversary).weight, first.weight)
    assert not torch.equal(train(two_features, image_set, adversary, seed=6).weight, first.weight)


def test_cached_features_give_the_same_head(two_features, two_feature_set, streamed):
    image_set = two_feature_set(60)
    first = train(two_features, image_set)
    assert torch.equal(train(two_features, streamed(image_set)).weight, first.weight)


def test_recipe_defaults_are_the_reference_and_small_sets_get_enough_updates():
    recipe = HeadRecipe()
    assert (recipe.lr, recipe.batch_size, recipe.weight_decay) == (3e-4, 256, 0)
    assert recipe.epochs_for(50_000) == 20
    assert recipe.epochs_for(1297) * recipe.updates_per_epoch(1297) == 1002
    optimizer = recipe.build_optimizer(nn.Linear(2, 2))
    assert isinstance(optimizer, torch.optim.Adam)
    optimizer = HeadRecipe(optimizer="sgd", weight_decay=0.1).build_optimizer(nn.Linear(2, 2))
    assert isinstance(optimizer, torch.optim.SGD)
    assert optimizer.param_groups[0]["weight_decay"] == 0.1


def test_number_of_updates_is_the_recipes(monkeypatch, two_features, two_feature_set):
    count = []
    step = torch.optim.Adam.step
    monkeypatch.setattr(torch.optim.Adam, "step", lambda self: (count.append(1), step(self)))
    train(two_features, two_feature_set(60))
    assert len(count) == 80
    train(two_features, two_feature_set(60), PGD(8 / 255, 0.01, 1))
    assert len(count) == 160


@pytest.mark.parametrize("adversary", [None, PGD()])
@pytest.mark.parametrize("label", [-1, 2])
def test_labels_must_fit_the_head(two_features, two_feature_set, adversary, label):
    image_set = two_feature_set(20)
    image_set.labels[3] = label
    with pytest.raises(UserError, match="needs labels from 0 to 1"):
        train(two_features, image_set, adversary)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"lr": 0}, "head.lr must be a number above 0; got 0"),
        ({"lr": "fast"}, "head.lr must be a number"),
        ({"lr": float("nan")}, "head.lr must be a number"),
        ({"batch_size": 0}, "head.batch_size must be a whole number of at least 1"),
        ({"epochs": 1.5}, "head.epochs must be a whole number"),
        ({"min_updates": -1}, "head.min_updates must be a whole number of at least 0"),
        ({"optimizer": "adamw"}, "Unknown head.optimizer 'adamw'. Did you mean 'adam'"),
        ({"weight_decay": -1}, "head.weight_decay must be a number of at least 0"),
        ({"learning_rate": 1}, "Unknown key in head 'learning_rate'"),
    ],
)
def test_bad_recipes(setting, message):
    with pytest.raises(UserError, match=message):
        HeadRecipe.from_config(setting)


def some_features(count=400, classes=5, dim=12):
    generator = torch.Generator().manual_seed(2)
    labels = torch.randint(classes, (count,), generator=generator)
    centres = torch.randn(classes, dim, generator=generator)
    return centres[labels] + torch.randn(count, dim, generator=generator), labels


def test_a_converged_head_is_scikit_learns_logistic_regression():
    features, labels = some_features()
    recipe = HeadRecipe(optimizer="lbfgs", weight_decay=1e-3)
    head = train_head_on_features(features, labels, num_classes=5, recipe=recipe, seed=0)
    x = ((features - features.mean(0)) / features.std(0, correction=0)).double().numpy()
    theirs = LogisticRegression(C=1 / (1e-3 * len(x)), tol=1e-9, max_iter=10_000).fit(x, labels)
    ours = head(features).softmax(1).double().numpy()
    np.testing.assert_allclose(ours, theirs.predict_proba(x), atol=2e-3)
    assert (ours.argmax(1) == theirs.predict(x)).mean() > 0.998


def test_a_head_that_is_not_trained_to_its_end_is_noted():
    features, labels = some_features()
    short = HeadRecipe(epochs=1, min_updates=0)
    head = train_head_on_features(features, labels, num_classes=5, recipe=short, seed=0)
    recipe = HeadRecipe(optimizer="lbfgs")
    settled = train_head_on_features(features, labels, num_classes=5, recipe=recipe, seed=0)
    test, test_labels = features[:40] + 0.1, labels[:40]
    note = unsettled(head, features, labels, test, test_labels)
    assert "not trained to its end" in note
    right = (settled(test).argmax(1) == test_labels).double().mean()
    assert f"Trained on to convergence, it has {right:.2%} on clean images" in note
    assert unsettled(settled, features, labels, test, test_labels) is None


def test_milestones_divide_the_learning_rate():
    recipe = HeadRecipe(
        optimizer="sgd", lr=0.1, batch_size=10, epochs=4, min_updates=16, milestones=(3, 1)
    )
    optimizer = recipe.build_optimizer(nn.Linear(2, 2))
    schedule = recipe.build_schedule(optimizer, 35)  # four updates an epoch
    rates = []
    for _ in range(14):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert rates == pytest.approx([0.1] * 4 + [0.01] * 8 + [0.001] * 2)
    longer = replace(recipe, min_updates=160)  # ten times as many epochs
    schedule = longer.build_schedule(longer.build_optimizer(nn.Linear(2, 2)), 35)
    assert sorted(schedule.milestones) == [40, 120]


@pytest.mark.parametrize(
    ("images", "batch", "epochs"),
    [(50_000, 512, 25), (25_000, 512, 25), (1_000, 25, 25), (500, 12, 25), (160, 8, 50)],
)
def test_batches_of_small_sets_shrink_before_the_epochs_multiply(images, batch, epochs):
    recipe = HeadRecipe(batch_size=512, epochs=25, min_updates=1000, smaller_batches=True)
    fitting = recipe.for_images(images)
    assert (fitting.batch_size, fitting.epochs_for(images)) == (batch, epochs)
    assert fitting.epochs_for(images) * fitting.updates_per_epoch(images) >= 1000


@pytest.mark.parametrize("adversary", [None, PGD(8 / 255, 0.01, 1)])
def test_a_small_set_is_seen_only_for_the_epochs_of_the_recipe(random_set, adversary):
    passed = []

    class Counting(nn.Module):
        def forward(self, images):
            passed.append(len(images))
            return images.flatten(1)[:, :2]

    images = random_set(count=32, num_classes=2, side=8)
    recipe = HeadRecipe(batch_size=32, epochs=2, min_updates=8, smaller_batches=True, augment=True)
    train(Counting().eval(), images, adversary, recipe=recipe)
    assert set(passed) == {8}
    passes = 1 if adversary is None else 2  # the attack's and the head's
    assert sum(passed) == 32 * 2 * passes


@pytest.mark.parametrize("adversary", [None, PGD(8 / 255, 0.01, 1)])
def test_augmentation_shows_the_encoder_shifted_images(random_set, adversary):
    seen = []

    class Watching(nn.Module):
        def forward(self, images):
            seen.append(images.detach())
            return images.flatten(1)[:, :2]

    images = random_set(count=8, num_classes=2, side=8)
    recipe = HeadRecipe(batch_size=8, epochs=2, min_updates=0, augment=True)
    train(Watching().eval(), images, adversary, recipe=recipe)
    whole = images.images / 255
    first, *_, last = seen
    assert first.shape == whole.shape
    assert (first == 0).any()  # a border came in; the images themselves are grey
    assert not torch.equal(first, last)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"optimizer": "lbfgs", "augment": True}, r"head\.augment=false"),
        ({"optimizer": "lbfgs", "milestones": [2]}, r"head\.milestones"),
        ({"milestones": "10"}, r"head\.milestones must be epochs"),
        ({"milestones": [0]}, r"head\.milestones"),
        ({"augment": "no"}, r"head\.augment must be true or false"),
    ],
)
def test_senseless_recipes_are_refused(wrong, said):
    with pytest.raises(UserError, match=said):
        HeadRecipe(**wrong)
