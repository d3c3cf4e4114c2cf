"""The automatic learning rate against its rules, written out for accuracies given by hand."""

import pytest
import torch
from torch import nn

from solo_adv.adversaries import PGD
from solo_adv.evaluation import Bench, FinetuneRecipe, HeadRecipe, evaluate_pgd, train_head
from solo_adv.evaluation.heads.automatic import (
    LINEAR,
    WHOLE,
    AutomaticRate,
    held_out,
    robust_accuracy,
    validation_attack,
)
from solo_adv.support.errors import UserError


def run(accuracies, checkpoints=(0, 4, 6, 8), epochs=50):
    """The rate, and a weight that counts epochs, after each epoch."""
    weight = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(weight.weight)
    optimizer = torch.optim.SGD(weight.parameters(), 1.0)
    found = iter(accuracies)
    automatic = AutomaticRate(
        optimizer, weight, lambda: next(found), epochs=epochs, checkpoints=checkpoints
    )
    states = []
    for _ in accuracies:
        with torch.no_grad():
            weight.weight += 1
        automatic.after_epoch()
        states.append((optimizer.param_groups[0]["lr"], weight.weight.item()))
    return automatic, states


def test_a_rising_accuracy_keeps_the_rate():
    automatic, states = run([number / 10 for number in range(10)])
    assert states == [(1.0, epoch) for epoch in range(1, 11)]
    assert automatic.halvings == []


def test_too_few_rises_halve_the_rate_and_bring_back_the_best():
    # From epoch 1 to epoch 5 two of four rise, fewer than three of four. The best is epoch 2.
    automatic, states = run([0.1, 0.5, 0.3, 0.2, 0.4, 0.6, 0.7, 0.8, 0.9])
    assert states[3:6] == [(1.0, 4.0), (0.5, 2.0), (0.5, 3.0)]
    assert automatic.halvings == [5]
    assert automatic.best == 0.9


def test_no_better_accuracy_at_the_same_rate_halves_it():
    # From epoch 5 to epoch 9 three of four rise, but none is better than epoch 5.
    accuracies = [0.1, 0.2, 0.3, 0.4, 0.9, 0.4, 0.5, 0.6, 0.7]
    automatic, states = run(accuracies, checkpoints=(0, 4, 8))
    assert automatic.halvings == [9]
    assert states[8] == (0.5, 5.0)


def test_a_halving_before_excuses_a_best_that_stays():
    # After epoch 5 the rate halves. From epoch 5 to epoch 7 both rise, and the best stays.
    automatic, _ = run([0.9, 0.2, 0.1, 0.2, 0.1, 0.2, 0.3], checkpoints=(0, 4, 6))
    assert automatic.halvings == [5]


def test_checkpoints_are_scaled_to_the_training():
    automatic, _ = run([0.1], checkpoints=WHOLE, epochs=25)
    assert automatic.checkpoints == [0, 8, 12, 14, 18, 20, 21, 22, 23, 24, 25]
    assert run([0.1], checkpoints=LINEAR)[0].checkpoints == list(range(0, 49, 4))


def test_held_out_images_are_a_part_by_the_seed(pattern_set):
    images = pattern_set(41)
    rest, kept = held_out(images, 0.1, 3)
    assert (len(rest), len(kept)) == (37, 4)
    pixels = [tuple(image.flatten().tolist()) for part in (rest, kept) for image, _ in part]
    assert sorted(pixels) == sorted(tuple(image.flatten().tolist()) for image, _ in images)
    assert torch.equal(held_out(images, 0.1, 3)[1].images, kept.images)
    assert not torch.equal(held_out(images, 0.1, 4)[1].images, kept.images)


def test_robust_accuracy_is_that_of_pgd(pattern_net, pattern_set):
    classifier, images = pattern_net(updates=20).eval(), pattern_set(60)
    attack = PGD("8/255", "2/255", 20, batch_norm="eval")
    expected = evaluate_pgd(Bench(classifier, images), epsilon="8/255", step_size="2/255").accuracy
    found = robust_accuracy(classifier, images, attack, batch_size=60, device="cpu", seed=0)
    assert found == pytest.approx(expected)
    assert validation_attack(PGD("8/255", "2/255", 3)).steps == 20


@pytest.mark.parametrize("robust", [False, True])
def test_a_head_with_an_automatic_rate(pattern_net, pattern_set, robust, monkeypatch):
    made = []
    original = AutomaticRate.__init__

    def noted(self, *arguments, **options):
        made.append(self)
        original(self, *arguments, **options)

    monkeypatch.setattr(AutomaticRate, "__init__", noted)
    attack = PGD("8/255", "2/255", 2, batch_norm="eval")
    head = train_head(
        pattern_net(updates=5).encoder.eval(),
        pattern_set(80),
        num_classes=5,
        features_dim=512,
        recipe=HeadRecipe(
            **{"lr": 0.5, "optimizer": "sgd", "batch_size": 40, "epochs": 6, "min_updates": 0},
            **{"automatic_lr": True, "validation": 0.25},
        ),
        adversary=attack if robust else None,
        validation_adversary=attack,
        device="cpu",
        seed=5,
    )
    (automatic,) = made
    assert len(automatic.accuracies) == 6
    assert automatic.best == max(automatic.accuracies)
    assert automatic._judge() == automatic.best  # the best head is the result
    assert head.out_features == 5


@pytest.mark.parametrize("recipe", [HeadRecipe, FinetuneRecipe])
def test_wrong_recipes(recipe):
    with pytest.raises(UserError, match="leave one out"):
        recipe(automatic_lr=True, milestones=(1,))
    with pytest.raises(UserError, match="validation must be"):
        recipe(automatic_lr=True, validation=0.9)
