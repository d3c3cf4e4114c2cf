"""Adversarial fine-tuning of encoder and head together."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from solo_adv.adversaries import PGD
from solo_adv.evaluation import (
    Bench,
    FinetuneRecipe,
    HeadRecipe,
    RobustSettings,
    evaluate_pgd,
    evaluate_robustness,
    finetune_adversarially,
    train_head,
)
from solo_adv.report.writing import write_report
from solo_adv.support.errors import UserError

RECIPE = FinetuneRecipe(epochs=8, lr=0.02, batch_size=32, augment=False)
ADVERSARY = PGD("20/255", "8/255", 4)
EPSILON = "20/255"


@pytest.fixture
def fragile(pattern_net, pattern_set):
    """A random encoder with a standard head, which small perturbations break."""
    encoder = pattern_net(updates=0).encoder.eval()
    head = train_head(
        encoder,
        pattern_set(),
        num_classes=5,
        features_dim=512,
        recipe=HeadRecipe(lr=0.01, batch_size=64, epochs=5, min_updates=0),
        adversary=None,
        device="cpu",
        seed=5,
    )
    return encoder, head


def finetune(encoder, head, train_set, recipe=RECIPE, seed=5):
    return finetune_adversarially(
        encoder, head, train_set, recipe=recipe, adversary=ADVERSARY, device="cpu", seed=seed
    )


@pytest.mark.parametrize("augment", [False, True])
def test_it_makes_the_classifier_robust(fragile, pattern_set, augment):
    from solo_adv.encoders.classifier import Classifier  # noqa: PLC0415

    test_set = pattern_set(100, seed=1)
    before = evaluate_pgd(Bench(Classifier(*fragile), test_set), epsilon=EPSILON).accuracy
    tuned = finetune(*fragile, pattern_set(), replace(RECIPE, augment=augment))
    after = evaluate_pgd(Bench(tuned, test_set), epsilon=EPSILON).accuracy
    assert after > before + (0.0 if augment else 0.1)
    assert not any(p.requires_grad for p in tuned.parameters())
    assert not any(module.training for module in tuned.modules())


def test_encoder_head_and_random_state_stay_as_they_are(fragile, pattern_set):
    encoder, head = fragile
    model = nn.Sequential(encoder, head).eval()
    model.requires_grad_(False)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    tuned = finetune(encoder, head, pattern_set(64), replace(RECIPE, epochs=1))
    assert torch.equal(torch.rand(2), expected)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not any(p.requires_grad for p in model.parameters())
    assert not any(module.training for module in model.modules())
    changed = tuned.encoder.state_dict()
    assert not torch.equal(changed["0.weight"], before["0.0.weight"])
    assert not torch.equal(changed["1.running_mean"], before["0.1.running_mean"])
    assert not torch.equal(tuned.head.weight, head.weight)


def test_same_seed_same_weights(fragile, pattern_set):
    recipe = replace(RECIPE, epochs=1, augment=True)
    one, same, other = (
        finetune(*fragile, pattern_set(65), recipe, seed).head.weight for seed in (1, 1, 2)
    )
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_running_statistics_move_once_an_update(fragile, pattern_set):
    encoder, head = fragile
    recipe = replace(RECIPE, epochs=2)
    tuned = finetune(encoder, head, pattern_set(97), recipe)  # the last batch is a single image
    seen = encoder[1].num_batches_tracked
    assert tuned.encoder[1].num_batches_tracked - seen == 2 * 3


def test_diverging_is_an_error_of_one_line(fragile, pattern_set):
    with pytest.raises(UserError, match=r"smaller finetune_recipe\.lr \(it is 1e\+30\)"):
        finetune(*fragile, pattern_set(64), replace(RECIPE, lr=1e30))


def test_evaluation_of_the_fine_tuned_classifier(fragile, pattern_set, tmp_path):
    encoder, _ = fragile
    state = {name: value.clone() for name, value in encoder.state_dict().items()}
    settings = RobustSettings(
        epsilons=(EPSILON,),
        steps=8,
        head=HeadRecipe(lr=0.01, batch_size=64, epochs=5, min_updates=0),
        alarm_images=20,
        train_epsilon=ADVERSARY.epsilon,
        train_step_size=ADVERSARY.step_size,
        train_steps=ADVERSARY.steps,
    )

    def evaluate(**changes):
        return evaluate_robustness(
            encoder,
            pattern_set(),
            pattern_set(100, seed=1, name="patterns test"),
            replace(settings, **changes),
            method="cfamc",
            checkpoint="c",
            pretrain_config={},
            device="cpu",
            quiet=True,
        ).report

    head_alone = evaluate()
    tuned = evaluate(finetune="adversarial", finetune_recipe=RECIPE)
    assert tuned.attacks[0].accuracy > head_alone.attacks[0].accuracy + 0.1
    assert tuned.by_label["kNN"].figure == head_alone.by_label["kNN"].figure
    assert all(torch.equal(value, state[name]) for name, value in encoder.state_dict().items())
    assert "adversarially fine-tuned" in write_report(tuned, tmp_path)["md"].read_text()
