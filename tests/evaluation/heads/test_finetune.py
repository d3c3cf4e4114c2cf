"""Adversarial fine-tuning of encoder and head together."""

import copy
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from solo_adv.adversaries import PGD
from solo_adv.encoders.classifier import Classifier
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
from solo_adv.evaluation.attacks.judging import clean_accuracy
from solo_adv.evaluation.heads.losses import AutoLoRa
from solo_adv.evaluation.heads.low_rank import LowRankBranch
from solo_adv.evaluation.images import batches
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
    test_set = pattern_set(100, seed=1)
    before = evaluate_pgd(Bench(Classifier(*fragile), test_set), epsilon=EPSILON).accuracy
    tuned = finetune(*fragile, pattern_set(), replace(RECIPE, augment=augment))
    after = evaluate_pgd(Bench(tuned, test_set), epsilon=EPSILON).accuracy
    assert after > before + (0.0 if augment else 0.1)
    assert not any(p.requires_grad for p in tuned.parameters())
    assert not any(module.training for module in tuned.modules())


def test_trades_takes_the_published_updates(pattern_net, pattern_set):
    """Two updates of TRADES, rewritten plainly, on whole images and without a random start."""
    encoder, head = pattern_net(updates=0).encoder, nn.Linear(512, 5)
    images = pattern_set(64)
    recipe = FinetuneRecipe(
        **{"epochs": 2, "lr": 0.05, "batch_size": 64, "weight_decay": 2e-4, "augment": False},
        **{"loss": "trades", "beta": 6.0, "milestones": [1]},
    )
    adversary = PGD("8/255", "2/255", 3, True, batch_norm="eval")
    starts = []
    original = adversary.ball.start

    def start(pixels, generator):
        starts.append((pixels, original(pixels, generator)))
        return starts[-1][1].clone()

    adversary.ball.start = start
    model = nn.Sequential(copy.deepcopy(encoder), copy.deepcopy(head)).requires_grad_(True).train()
    tuned = finetune_adversarially(
        encoder, head, images, recipe=recipe, adversary=adversary, device="cpu", seed=5
    )
    labels_of = {tuple(image.flatten().tolist()): label for image, label in images}
    optimizer = torch.optim.SGD(model.parameters(), 0.05, momentum=0.9, weight_decay=2e-4)
    for number, (pixels, drawn) in enumerate(starts):
        optimizer.param_groups[0]["lr"] = (0.05, 0.005)[number]
        keys = ((pixels * 255).round().to(torch.uint8)).flatten(1).tolist()
        labels = torch.tensor([labels_of[tuple(key)] for key in keys])
        model.eval()
        clean = model(pixels).softmax(1).detach()
        delta = drawn
        for _ in range(3):
            delta = delta.detach().requires_grad_()
            away = F.kl_div(model(pixels + delta).log_softmax(1), clean, reduction="sum")
            (gradient,) = torch.autograd.grad(away, delta)
            delta = (delta + 2 / 255 * gradient.sign()).clamp(-8 / 255, 8 / 255)
            delta = (pixels + delta).clamp(0, 1) - pixels
        model.train()
        natural = model(pixels)
        attacked = model(pixels + delta.detach())
        robust = F.kl_div(attacked.log_softmax(1), natural.softmax(1), reduction="batchmean")
        optimizer.zero_grad()
        (F.cross_entropy(natural, labels) + 6 * robust).backward()
        optimizer.step()
    assert len(starts) == 2
    pairs = zip(model[0].state_dict().values(), tuned.encoder.state_dict().values(), strict=True)
    for theirs, ours in pairs:
        torch.testing.assert_close(ours, theirs, atol=2e-4, rtol=1e-3)
    torch.testing.assert_close(tuned.head.weight, model[1].weight, atol=2e-4, rtol=1e-3)


def test_autolora_takes_the_published_updates(pattern_net, pattern_set, monkeypatch):
    """Two updates of AutoLoRa, rewritten with a second network for the clean branch."""
    encoder, head = pattern_net(updates=0).encoder.double(), nn.Linear(512, 5).double()
    images = pattern_set(64)
    recipe = FinetuneRecipe(
        **{"epochs": 2, "lr": 0.05, "batch_size": 64, "weight_decay": 2e-4, "augment": False},
        **{"loss": "autolora", "milestones": [1], "rank": 2},
    )
    adversary = PGD("8/255", "2/255", 3, True, batch_norm="eval")
    steps, losses, branches = [], [], []
    perturb, call, build = adversary.perturb, AutoLoRa.__call__, LowRankBranch.__init__

    def noted(self, encoder, rank):
        build(self, encoder, rank)
        branches.append([copy.deepcopy(part) for part in (self.names, self.first, self.second)])

    def called(self, pixels, attacked, labels):
        losses.append(call(self, pixels, attacked, labels))
        steps.append((pixels, attacked, labels, self.correct_share, losses[-1].item()))
        return losses[-1]

    monkeypatch.setattr(LowRankBranch, "__init__", noted)
    monkeypatch.setattr(AutoLoRa, "__call__", called)
    monkeypatch.setattr(adversary, "perturb", lambda p, *rest: perturb(p.double(), *rest))
    monkeypatch.setattr(
        "solo_adv.evaluation.heads.finetune.batches",
        lambda *a, **k: ((p.double(), y) for p, y in batches(*a, **k)),
    )
    monkeypatch.setattr(
        "solo_adv.evaluation.heads.losses.batches",
        lambda *a, **k: ((p.double(), y) for p, y in batches(*a, **k)),
    )
    tuned = finetune_adversarially(
        encoder, head, images, recipe=recipe, adversary=adversary, device="cpu", seed=5
    )
    ((names, first, second),) = branches
    model = nn.Sequential(copy.deepcopy(encoder), copy.deepcopy(head)).requires_grad_(True).train()
    trained = [*model.parameters(), *first, *second]
    optimizer = torch.optim.SGD(trained, 0.05, momentum=0.9, weight_decay=2e-4)
    pixels_of_all, labels_of_all = next(iter(batches(images, 64, "cpu")))

    def clean_branch(pixels):
        weights = {name: w.detach() for name, w in model[0].named_parameters()}
        for name, a, b in zip(names, first, second, strict=True):
            weights[name] = weights[name] + (b @ a).reshape(weights[name].shape) / 2
        return model[1](torch.func.functional_call(model[0], weights, (pixels,)))

    assert len(steps) == 2
    for number, (pixels, attacked, labels, share, loss) in enumerate(steps):
        optimizer.param_groups[0]["lr"] = (0.05, 0.005)[number]
        model.eval()
        with torch.no_grad():
            right = clean_branch(pixels_of_all.double()).argmax(1) == labels_of_all
        assert share == right.double().mean().item()
        model.train()
        natural, robust = clean_branch(pixels), model(attacked)
        divergence = F.kl_div(robust.log_softmax(1), natural.softmax(1), reduction="batchmean")
        expected = (
            (1 - share) * F.cross_entropy(natural, labels)
            + share * F.cross_entropy(robust, labels)
            + 6 * share * divergence
        )
        assert loss == pytest.approx(expected.item(), rel=1e-9)
        optimizer.zero_grad()
        expected.backward()
        optimizer.step()
    pairs = zip(model[0].state_dict().values(), tuned.encoder.state_dict().values(), strict=True)
    for theirs, ours in pairs:
        torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(tuned.head.weight, model[1].weight)
    assert steps[0][1].sub(steps[0][0]).abs().max() <= 8 / 255 + 1e-9


def test_autolora_makes_the_classifier_robust(fragile, pattern_set):
    recipe = replace(RECIPE, loss="autolora", automatic_lr=True, validation=0.2, lr=0.002)
    test_set = pattern_set(100, seed=1)
    before = evaluate_pgd(Bench(Classifier(*fragile), test_set), epsilon=EPSILON).accuracy
    tuned = finetune(*fragile, pattern_set(), recipe)
    judged = Bench(tuned, test_set)
    assert evaluate_pgd(judged, epsilon=EPSILON).accuracy > before + 0.1
    assert clean_accuracy(judged).top1.accuracy > 0.6  # one answer for all images has 0.2
    again = finetune(*fragile, pattern_set(), recipe)
    assert torch.equal(tuned.head.weight, again.head.weight)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"loss": "trade"}, "Did you mean 'trades'"),
        ({"rank": 0}, r"finetune_recipe\.rank"),
        ({"beta": -1}, r"finetune_recipe\.beta"),
        ({"milestones": 15}, r"milestones must be epochs, such as \[15,20\]"),
        ({"milestones": [0]}, r"finetune_recipe\.milestones"),
    ],
)
def test_wrong_recipes(changes, words):
    with pytest.raises(UserError, match=words):
        FinetuneRecipe(**changes)


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
