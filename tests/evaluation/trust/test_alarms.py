"""Models that only seem robust cause the right alarm; a sound model causes none."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from solo_adv.adversaries import Ball
from solo_adv.encoders.classifier import Classifier
from solo_adv.evaluation import Bench, Probes, all_alarms, clean_accuracy, evaluate_pgd, probe
from solo_adv.report.classes import Classes
from solo_adv.report.measurement import Measurement
from solo_adv.support.errors import UserError


def measure(classifier, image_set, **settings):
    return probe(
        Bench(classifier, image_set, batch_size=64),
        **{
            "num_classes": image_set.num_classes,
            "ball": Ball("linf", 8 / 255),
            "steps": 10,
            "step_size": 0.01,
            **settings,
        },
    )


def tripped(probes):
    return [message.split(":")[0] for message in all_alarms([], probes)]


class Before(nn.Module):
    """A classifier whose input or output is changed by a function."""

    def __init__(self, net, of_input=None, of_output=None):
        super().__init__()
        self.net, self.of_input, self.of_output = net, of_input, of_output

    def forward(self, images):
        outputs = self.net(images if self.of_input is None else self.of_input(images))
        return outputs if self.of_output is None else self.of_output(outputs)


class BatchStatistics(nn.Module):
    """Normalises by the batch's statistics, also in eval mode."""

    def forward(self, logits):
        return (logits - logits.mean(0)) / (logits.std(0) + 1e-3)


@pytest.mark.parametrize("num_classes", [2, 5, 10])
def test_a_sound_model_trips_none(pattern_net, pattern_set, num_classes):
    net, image_set = pattern_net(num_classes), pattern_set(120, num_classes, seed=1)
    probes = measure(net, image_set)
    assert tripped(probes) == []
    assert probes.images == 120
    assert probes.clean_correct == clean_accuracy(Bench(net, image_set)).top1.correct
    pgd = evaluate_pgd(Bench(net, image_set), epsilon=8 / 255, steps=10)
    assert probes.steps_correct == pgd.correct
    assert probes.unbounded_correct < probes.steps_correct <= probes.clean_correct
    longer = evaluate_pgd(Bench(net, image_set), epsilon=8 / 255, steps=20)
    assert probes.more_steps_correct == longer.correct
    moved = probes.repaired_by_more_steps - probes.broken_by_more_steps
    assert moved == probes.more_steps_correct - probes.steps_correct


def test_images_that_more_steps_repair_and_break_are_counted_apart(pattern_net, pattern_set):
    net, image_set = pattern_net(), pattern_set(120, seed=1)
    probes = measure(net, image_set, ball=Ball("linf", 16 / 255), steps=3)
    assert probes.repaired_by_more_steps == 0
    assert probes.broken_by_more_steps == probes.steps_correct - probes.more_steps_correct > 0


def test_the_margin_is_probed_too(linear_bench):
    bench = linear_bench(1e-3)
    probes = measure(bench.classifier, bench.images, ball=Ball("linf", 4 / 255), steps=3)
    settings = {"epsilon": 4 / 255, "steps": 3}
    assert probes.margin_correct == evaluate_pgd(bench, **settings, loss="margin").correct
    worst = evaluate_pgd(bench, **settings, loss="both")
    assert probes.broken_by_margin == worst.details["margin"] > 0
    moved = probes.repaired_by_margin - probes.broken_by_margin
    assert moved == probes.margin_correct - probes.steps_correct


MASKED = {
    "saturated logits": ({"of_output": lambda z: 1e5 * z}, "Zero gradients"),
    "quantised input": ({"of_input": lambda x: (x * 8).round() / 8}, "Zero gradients"),
    "quantised input, unbounded": ({"of_input": lambda x: (x * 8).round() / 8}, "Unbounded"),
    "noise": (
        {"of_input": lambda x: (x + 0.1 * torch.randn_like(x)).clamp(0, 1)},
        "Randomised forward pass",
    ),
    "softmax": ({"of_output": lambda z: z.softmax(1)}, "Softmax instead of logits"),
    "batch statistics": ({"of_output": BatchStatistics()}, "Model in train mode"),
}


@pytest.mark.parametrize("case", MASKED)
def test_a_masked_model_trips_the_right_alarm(pattern_net, pattern_set, case):
    change, alarm = MASKED[case]
    probes = measure(Before(pattern_net(), **change).eval(), pattern_set(120, seed=1))
    assert any(name.startswith(alarm) for name in tripped(probes))


def test_train_mode_is_seen_and_changes_nothing(pattern_net, pattern_set):
    net = pattern_net()
    net.encoder[1].train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    probes = measure(net, pattern_set(60, seed=1))
    assert tripped(probes) == ["Model in train mode"]
    assert probes.training_modules == ["encoder.1"]
    assert net.encoder[1].training
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_a_constant_model_is_at_chance(random_set):
    class Constant(nn.Module):
        def forward(self, images):
            return 0 * images.flatten(1)[:, :2] + images.new_tensor([3.0, 1.0])

    names = tripped(measure(Constant().eval(), random_set(40, num_classes=2)))
    assert names == ["Zero gradients"]


def test_a_model_without_gradient_is_refused(pattern_net, pattern_set):
    net = Before(pattern_net(), of_output=lambda z: z.detach()).eval()
    with pytest.raises(UserError, match="no gradient with respect to the image"):
        measure(net, pattern_set(10))


def test_logits_between_0_and_1_are_no_softmax(pattern_net, pattern_set):
    net = Before(pattern_net(), of_output=lambda z: z.sigmoid()).eval()
    assert not measure(net, pattern_set(60, seed=1)).softmax_output


def test_the_classifier_need_not_be_ours(pattern_net, pattern_set):
    net = pattern_net()
    plain = nn.Sequential(net.encoder, net.head).eval()
    assert measure(plain, pattern_set(60, seed=1)) == measure(net, pattern_set(60, seed=1))
    assert isinstance(net, Classifier)


SOUND = Probes(
    images=256,
    classes=10,
    training_modules=[],
    batch_dependence=1e-6,
    repeat_difference=0.0,
    softmax_output=False,
    clean_correct=200,
    zero_gradients=2,
    zero_epsilon_correct=200,
    epsilon_text="8/255",
    steps=20,
    steps_correct=100,
    more_steps_correct=99,
    repaired_by_more_steps=1,
    broken_by_more_steps=2,
    margin_correct=101,
    repaired_by_margin=2,
    broken_by_margin=1,
    unbounded_correct=0,
)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"batch_dependence": 0.3}, ["Model in train mode", "running statistics"]),
        ({"training_modules": ["bn"]}, ["Model in train mode: bn", ".eval()"]),
        ({"repeat_difference": 0.01}, ["Randomised", "expectation"]),
        ({"softmax_output": True}, ["Softmax", "give the evaluation the logits"]),
        ({"zero_gradients": 3}, ["Zero gradients: on 3 of 200", "saturates", "AutoAttack"]),
        ({"zero_epsilon_correct": 199}, ["Epsilon 0 differs", "199 of 256"]),
        (
            {"repaired_by_more_steps": 9, "broken_by_more_steps": 2, "more_steps_correct": 107},
            ["More steps help", "after 20 steps", "107", "shorter steps"],
        ),
        ({"unbounded_correct": 36}, ["Unbounded attack fails", "36 of 256", "Square"]),
    ],
)
def test_each_probe_has_its_alarm(change, words):
    assert all_alarms([], SOUND) == []
    (message,) = all_alarms([], replace(SOUND, **change))
    assert all(word in message for word in words)
    assert "\n" not in message


def test_sampling_noise_makes_no_alarm():
    within = [
        {
            "repaired_by_more_steps": 4,
            "broken_by_more_steps": 0,
        },  # as likely as four heads in four throws of a coin, 1 in 16
        {"unbounded_correct": 35},  # 10 % and two standard deviations of 256 images
        {"zero_gradients": 2},
    ]
    for change in within:
        assert all_alarms([], replace(SOUND, **change)) == []


def clean(accuracy):
    return Measurement(name="clean", correct=round(10_000 * accuracy), total=10_000)


def attack(level, accuracy, name="PGD-20"):
    settings = {"norm": "linf", "epsilon": level / 255}
    correct = round(10_000 * accuracy)
    return Measurement(name=name, correct=correct, total=10_000, settings=settings)


def test_robust_accuracy_rises_with_epsilon():
    fine = [clean(0.6), attack(16, 0.1), attack(4, 0.5), attack(8, 0.1)]
    assert all_alarms(fine) == []
    (message,) = all_alarms([clean(0.6), attack(4, 0.2393), attack(8, 0.2657), attack(16, 0.07)])
    assert "rises from 23.93% at 4/255 to 26.57% at 8/255" in message
    # The alarm does not compare different attacks.
    assert all_alarms([clean(0.6), attack(4, 0.2), attack(8, 0.3, "other")]) == []


def test_an_attack_helps():
    assert all_alarms([clean(0.5), attack(4, 0.5)]) == []
    (message,) = all_alarms([clean(0.5), attack(4, 0.51)])
    assert "PGD-20 at 4/255" in message
    assert "51.00%, is above clean accuracy, 50.00%" in message
    assert all_alarms([attack(4, 0.51)]) == []


def test_autoattack_above_pgd():
    fine = [clean(0.9), attack(4, 0.5), attack(8, 0.3), attack(4, 0.48, "AutoAttack")]
    assert all_alarms([*fine, attack(8, 0.3, "AutoAttack")]) == []
    (message,) = all_alarms([*fine, attack(8, 0.301, "AutoAttack")])
    assert "AutoAttack at 8/255 leaves 30.10%, more than PGD-20 (30.00%)" in message
    assert "trust the lower" in message


def clean_by_class(correct, by_class):
    counts = Classes(total=tuple(by_class), correct=tuple(by_class))
    return Measurement(name="clean", correct=correct, total=sum(by_class), classes=counts)


@pytest.mark.parametrize(
    ("correct", "by_class", "alarms"),
    [
        (0, [10] * 10, ["Below chance"]),
        (30, [100] * 10, ["Below chance"]),
        (3, [10] * 10, []),  # as likely as one in a hundred by guessing
        (100, [100] * 10, []),
        (0, [1, 1, 0], []),
        (20, [0, 20, 0], ["One class only"]),
    ],
)
def test_a_head_below_chance_and_images_of_one_class(correct, by_class, alarms):
    found = all_alarms([clean_by_class(correct, by_class)])
    assert [message.split(":")[0] for message in found] == alarms
