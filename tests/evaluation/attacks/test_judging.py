import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from solo_adv.adversaries import Ball
from solo_adv.crops import as_unit_float
from solo_adv.encoders.classifier import Classifier, predict
from solo_adv.evaluation import Bench, clean_accuracy, evaluate_pgd
from solo_adv.evaluation.attacks.judging import seen_under, survivors
from solo_adv.support.errors import UserError


@pytest.fixture
def convolutional():
    torch.manual_seed(0)
    encoder = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten()
    )
    encoder(
        torch.rand(64, 3, 4, 4)
    )  # makes the running statistics differ from those of any test batch
    return Classifier(encoder, nn.Linear(128, 3))


def own_labels(classifier, image_set, wrong=3):
    """Label the images as the classifier sees them, except for the first few."""
    labels = predict(classifier, as_unit_float(image_set.images))
    labels[:wrong] = (labels[:wrong] + 1) % 3
    image_set.labels = labels
    return image_set


def one_image_at_a_time(classifier, image_set, epsilon, steps, step_size):
    correct = 0
    for picture, label in zip(image_set.images, image_set.labels, strict=True):
        image = picture[None].float() / 255
        delta = torch.zeros_like(image)
        survives = classifier(image).argmax() == label
        for _ in range(steps):
            delta.requires_grad_(True)
            F.cross_entropy(classifier(image + delta), label[None]).backward()
            delta = delta.detach() + step_size * delta.grad.sign()
            delta = torch.clamp(image + delta.clamp(-epsilon, epsilon), 0, 1) - image
        correct += bool(survives and classifier(image + delta).argmax() == label)
    return correct


@pytest.mark.parametrize("epsilon", [2 / 255, 4 / 255, 16 / 255])
def test_agrees_with_a_loop_over_single_images(convolutional, random_set, epsilon):
    image_set = own_labels(convolutional, random_set(24))
    image_set.images[:, 0, 0] = 255  # the pixel box binds
    image_set.images[:, 1, 3] = 0
    image_set = own_labels(convolutional, image_set)
    expected = one_image_at_a_time(convolutional, image_set, epsilon, 6, 0.015)
    for batch_size in (7, 100):
        result = evaluate_pgd(
            Bench(convolutional, image_set, batch_size=batch_size),
            epsilon=epsilon,
            steps=6,
            step_size=0.015,
        )
        assert (result.correct, result.total) == (expected, 24)
        assert result.accuracy == expected / 24
        assert result.correct <= 21
    if epsilon == 4 / 255:
        assert 0 < expected < 21


@pytest.mark.parametrize("epsilon", ["1/255", "4/255", "8/255", "16/255"])
def test_is_exact_for_a_linear_classifier(random_set, epsilon):
    torch.manual_seed(1)
    head = nn.Linear(48, 2)
    classifier = Classifier(nn.Flatten(), head)
    image_set = random_set(200, num_classes=2)
    image_set.labels = predict(classifier, as_unit_float(image_set.images))
    image_set.labels[:20] = 1 - image_set.labels[:20]
    result = evaluate_pgd(Bench(classifier, image_set), epsilon=epsilon)
    logits = classifier(as_unit_float(image_set.images)).double()
    sign = 2 * image_set.labels - 1
    margin = sign * (logits[:, 1] - logits[:, 0])
    reach = result.epsilon * (head.weight[1] - head.weight[0]).abs().sum().item()
    assert (
        margin - reach
    ).abs().min() > 1e-5  # no image is on the edge, so rounding cannot change the count
    assert result.correct == int((margin > reach).sum())
    if epsilon == "16/255":
        assert 20 < result.correct < 170


class Scripted:
    """An attack that breaks images of given grey levels, and notes which images it sees."""

    def __init__(self, breaks, size=0.1):
        self.breaks, self.size, self.seen = breaks, size, []

    def perturb(self, images, loss_of, generator):
        delta = torch.zeros_like(images)
        for index, image in enumerate(images):
            number = round(image.mean().item() * 255 / 40)
            self.seen.append(number)
            if number in self.breaks:
                delta[index] = self.size
        return delta


class BrokenByBrightening(nn.Module):
    """Says class 1 for images with grey level 40 k (k = 0..5) or a little more, else class 0."""

    def forward(self, images):
        grey = images.flatten(1).mean(1) * 255
        off = grey - 40 * (grey / 40).round()
        return torch.stack([off - 1, 1 - off], dim=1)


def greys(random_set):
    image_set = random_set(6, num_classes=2)
    image_set.images[:] = (40 * torch.arange(6)).view(6, 1, 1, 1)
    image_set.labels = torch.tensor([1, 1, 1, 1, 1, 0])  # the last one is wrong without attack
    return image_set


def judge(random_set, attacks, epsilon=0.05):
    bench = Bench(BrokenByBrightening().eval(), greys(random_set), batch_size=4)
    return survivors(bench, attacks, ball=Ball("linf", epsilon))


def test_worst_case_over_restarts_and_only_survivors_are_attacked_again(random_set):
    attacks = [Scripted({1}, 0.04), Scripted({3, 1}, 0.04), Scripted({1, 3}, 0.04)]
    survived, notes = judge(random_set, attacks)
    assert survived.tolist() == [True, False, True, False, True, False]
    assert [attack.seen for attack in attacks] == [[0, 1, 2, 3, 4], [0, 2, 3, 4], [0, 2, 4]]
    assert notes == []


def test_an_image_is_seen_as_the_first_wrong_class(random_set):
    bench = Bench(BrokenByBrightening().eval(), greys(random_set), batch_size=4)
    attacks = [Scripted({1}, 0.04), Scripted({3, 1}, 0.04)]
    seen, _ = seen_under(bench, attacks, ball=Ball("linf", 0.05))
    assert seen.tolist() == [1, 0, 1, 0, 1, 1]


def test_classes_are_counted_as_a_loop_over_images_counts(convolutional, random_set):
    image_set = own_labels(convolutional, random_set(24))
    seen = predict(convolutional, as_unit_float(image_set.images)).tolist()
    pairs = list(zip(image_set.labels.tolist(), seen, strict=True))
    bench = Bench(convolutional, image_set, batch_size=7)
    for found in (clean_accuracy(bench).top1, evaluate_pgd(bench, epsilon=0)):
        assert found.classes.total == tuple(image_set.labels.tolist().count(c) for c in range(3))
        assert found.classes.correct == tuple(pairs.count((c, c)) for c in range(3))
        assert found.classes.mistakes == {
            f"{truth} as {other}": pairs.count((truth, other))
            for truth, other in set(pairs)
            if truth != other
        }
    attacked = evaluate_pgd(bench, epsilon="4/255", steps=6, step_size=0.015)
    assert sum(attacked.classes.correct) == attacked.correct < 21
    assert attacked.classes.complete


def test_no_image_is_attacked_after_all_are_broken(random_set):
    attacks = [Scripted({0, 1, 2, 3, 4}, 0.04), Scripted({1})]
    survived, _ = judge(random_set, attacks)
    assert not survived.any()
    assert attacks[1].seen == []


def test_perturbations_outside_the_threat_model_do_not_count(random_set):
    survived, notes = judge(random_set, [Scripted({1, 2}, 0.04)], epsilon=0.001)
    assert survived.tolist() == [True] * 5 + [False]
    assert len(notes) == 1
    assert "0.039" in notes[0]


def test_restarts_after_the_first_are_random(monkeypatch, convolutional, random_set):
    starts = []
    from solo_adv.evaluation.attacks import judging as attacks  # noqa: PLC0415

    def record(epsilon, step_size, steps, random_start, **rest):
        starts.append(random_start)
        return pgd(epsilon, step_size, steps, random_start, **rest)

    pgd = attacks.PGD
    monkeypatch.setattr(attacks, "PGD", record)
    evaluate_pgd(Bench(convolutional, random_set()), epsilon=0.01, steps=2, restarts=3)
    evaluate_pgd(Bench(convolutional, random_set()), epsilon=0.01, steps=2, random_start=True)
    assert starts == [False, True, True, True]


def test_more_restarts_never_help_the_model(convolutional, random_set):
    image_set = own_labels(convolutional, random_set(60))
    correct = [
        evaluate_pgd(
            Bench(convolutional, image_set), epsilon="3/255", steps=1, step_size="2/255", restarts=n
        ).correct
        for n in (1, 2, 6)
    ]
    assert correct[0] >= correct[1] >= correct[2]
    assert correct[0] > 0


def test_result_names_its_settings(convolutional, random_set):
    result = evaluate_pgd(
        Bench(convolutional, random_set()), epsilon="8/255", steps=3, step_size=0.02, restarts=2
    )
    assert result.label == "PGD-3 at 8/255"
    assert result.settings == {
        "norm": "linf",
        "epsilon": 8 / 255,
        "steps": 3,
        "step_size": 0.02,
        "restarts": 2,
        "random_start": False,
    }
    assert result.seconds > 0
    assert result.notes == ()


@pytest.mark.parametrize(("steps", "step_size", "noted"), [(2, 0.01, True), (4, 0.01, False)])
def test_notes_an_attack_that_cannot_reach_its_epsilon(
    convolutional, random_set, steps, step_size, noted
):
    result = evaluate_pgd(
        Bench(convolutional, random_set()), epsilon="8/255", steps=steps, step_size=step_size
    )
    assert bool(result.notes) == noted
    if noted:
        assert "2 steps of 0.01 reach only 0.02" in result.notes[0]


def test_model_is_left_as_it_was(convolutional, random_set):
    convolutional.head.bias.requires_grad_(False)
    before = copy.deepcopy(convolutional.state_dict())
    flags = [p.requires_grad for p in convolutional.parameters()]
    evaluate_pgd(Bench(convolutional, random_set()), epsilon="8/255", steps=2, restarts=2)
    clean_accuracy(Bench(convolutional, random_set()))
    after = convolutional.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert [p.requires_grad for p in convolutional.parameters()] == flags
    assert all(p.grad is None for p in convolutional.parameters())
    assert not any(module.training for module in convolutional.modules())


def test_parameters_require_no_gradient_during_an_attack(convolutional, random_set):
    class Watched:
        def perturb(self, images, loss_of, generator):
            asked.extend(parameter.requires_grad for parameter in convolutional.parameters())
            return torch.zeros_like(images)

    asked = []
    image_set = own_labels(convolutional, random_set(24))
    survivors(Bench(convolutional, image_set), [Watched()], ball=Ball("linf", 0.1))
    assert asked
    assert not any(asked)


def test_refuses_any_part_in_training_mode(convolutional, random_set):
    convolutional.encoder[1].train()
    for evaluate in (lambda *a: evaluate_pgd(*a, epsilon=0.1), clean_accuracy):
        with pytest.raises(UserError, match=r"encoder\.1 \(BatchNorm2d\) is in training mode"):
            evaluate(Bench(convolutional, random_set()))


def test_classifier_stays_in_eval_mode(convolutional):
    assert not any(module.training for module in convolutional.train().modules())
    assert not any(module.training for module in convolutional.train(True).modules())


def test_verdicts_do_not_depend_on_the_batch(convolutional, random_set):
    image_set = own_labels(convolutional, random_set(24))
    accuracies = {
        evaluate_pgd(Bench(convolutional, image_set, batch_size=size), epsilon="2/255").correct
        for size in (1, 5, 24)
    }
    assert len(accuracies) == 1


def test_same_images_for_clean_and_attack(convolutional, random_set):
    image_set = own_labels(convolutional, random_set(60), wrong=30)
    clean = clean_accuracy(Bench(convolutional, image_set, seed=7).drawn(20))
    # An attack of radius 0 does not change the images.
    result = evaluate_pgd(Bench(convolutional, image_set, seed=7).drawn(20), epsilon=0)
    assert (clean.top1.correct, clean.top1.total) == (result.correct, result.total)
    assert result.total == clean.top5.total == clean.top5.correct == 20


def test_streamed_images_give_the_same_result(convolutional, random_set, streamed):
    image_set = own_labels(convolutional, random_set(24))
    results = [
        evaluate_pgd(Bench(convolutional, one, batch_size=10), epsilon="2/255").correct
        for one in (image_set, streamed(image_set))
    ]
    assert results[0] == results[1]


def test_logits_that_are_not_finite_are_never_right(random_set):
    class NotANumber(nn.Module):
        def forward(self, images):
            return images.flatten(1)[:, :2] * float("nan")

    image_set = random_set(8, num_classes=2)
    image_set.labels[:] = 0
    assert clean_accuracy(Bench(NotANumber().eval(), image_set)).top5.correct == 0
    attacked = evaluate_pgd(Bench(NotANumber().eval(), image_set), epsilon=0.1)
    assert attacked.accuracy == 0
    assert attacked.classes.mistakes == {"0 as none": 8}


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"epsilon": 8}, "Did you mean 8/255"),
        ({"steps": 0}, "steps must be a whole number"),
        ({"restarts": 0}, "restarts must be a whole number of at least 1"),
        ({"step_size": "big"}, "step_size is a fraction"),
    ],
)
def test_bad_settings(convolutional, random_set, setting, message):
    with pytest.raises(UserError, match=message):
        evaluate_pgd(Bench(convolutional, random_set()), **{"epsilon": 0.1, **setting})


def test_empty_set(convolutional, random_set):
    for evaluate in (lambda *a: evaluate_pgd(*a, epsilon=0.1), clean_accuracy):
        with pytest.raises(UserError, match="empty"):
            evaluate(Bench(convolutional, random_set().subset([])))
