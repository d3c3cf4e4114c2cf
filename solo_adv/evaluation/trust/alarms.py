"""Alarms that detect results which cannot be right.

Each alarm is a function that returns messages, which name the cause and the remedy.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from math import sqrt

from solo_adv.evaluation.trust.probes import Probes
from solo_adv.report.measurement import (
    AUTOATTACK,
    CLEAN,
    Measurement,
    by_attack,
    by_label,
    under_attack,
)
from solo_adv.report.uncertainty import standard_error, wilson

MeasurementAlarm = Callable[[Sequence[Measurement]], list[str]]
ProbeAlarm = Callable[[Probes], list[str]]

SAME_OUTPUT = 1e-4
"""Relative difference of logits up to which two passes agree. pyautoattack uses the same value."""
SAME_IN_ANY_BATCH = 1e-2
"""The same for passes with other images in the batch, in which kernels may round differently."""
ZERO_GRADIENTS_ALLOWED = 0.01
"""Share of correctly classified images that may have a zero gradient. Each such image may be
counted as robust although a better attack would break it."""
CERTAINTY = 3.0
"""Width of the interval that must lie below chance, in standard deviations."""
DEVIATIONS = 2.0
"""A deviation of up to this many standard deviations counts as sampling noise."""


def rises_with_epsilon(measurements: Sequence[Measurement]) -> list[str]:
    """Alarm if a larger ball helps the model: it contains the smaller ball and all its attacks."""
    return [
        f"{name}: accuracy rises from {smaller.accuracy:.2%} at {smaller.radius} to "
        f"{larger.accuracy:.2%} at {larger.radius}. The attack at {larger.radius} has not "
        "converged, or gradients are masked: attack with more steps and restarts, and trust the "
        "lower figure for both."
        for (name, _), same in by_attack(measurements).items()
        for smaller, larger in pairwise(same)
        if larger.accuracy > smaller.accuracy
    ]


def attack_above_clean(measurements: Sequence[Measurement]) -> list[str]:
    """Alarm if an attack helps the model: an attack may always leave the image unchanged."""
    clean = by_label(measurements).get(CLEAN)
    return [
        f"{a.label}: accuracy under attack, {a.accuracy:.2%}, is above clean accuracy, "
        f"{clean.accuracy:.2%}. The two were measured on different images, heads or modes of the "
        "model (batch statistics): evaluate both again in one run, with the model in eval mode."
        for a in under_attack(measurements)
        if clean is not None and a.accuracy > clean.accuracy
    ]


def clean_below_chance(measurements: Sequence[Measurement]) -> list[str]:
    """Alarm if a head is worse than guessing, which even an untrained encoder is not."""
    clean = by_label(measurements).get(CLEAN)
    if clean is None or clean.classes is None:
        return []
    classes = len(clean.classes.total)
    if wilson(clean.accuracy, clean.images, CERTAINTY)[1] >= 1 / classes:
        return []
    return [
        f"Below chance: {clean.correct} of {clean.total} images are right without attack, fewer "
        f"than by guessing among {classes} classes. The labels of the train and the test images, "
        "or of a given head, mean different classes: compare the class names and their order."
    ]


def one_class_only(measurements: Sequence[Measurement]) -> list[str]:
    """Alarm if all judged images are of one class, so that a constant answer may be right."""
    clean = by_label(measurements).get(CLEAN)
    if clean is None or clean.classes is None:
        return []
    held = [number for number, count in enumerate(clean.classes.total) if count]
    if len(held) != 1 or len(clean.classes.total) == 1:
        return []
    return [
        f"One class only: all {clean.total} judged images are of class {held[0]}, so that every "
        "figure here says only how often the model gives that answer: judge more images "
        "(max_images=null)."
    ]


def autoattack_above_pgd(measurements: Sequence[Measurement]) -> list[str]:
    """Alarm if AutoAttack breaks fewer images than PGD: its first attack is a stronger PGD."""
    attacks = under_attack(measurements)
    ensemble = {a.ball: a for a in attacks if a.name == AUTOATTACK}
    return [
        f"{ensemble[a.ball].label} leaves {ensemble[a.ball].accuracy:.2%}, more than "
        f"{a.name} ({a.accuracy:.2%}). It ran on another model (batch statistics, another head) or "
        "on other images, or its gradients vanish where PGD's do not: evaluate both again in one "
        "run, and until then trust the lower figure."
        for a in attacks
        if a.ball in ensemble and ensemble[a.ball].accuracy > a.accuracy
    ]


def more_steps_help(probes: Probes) -> list[str]:
    """Alarm if a longer attack breaks fewer images than a shorter one."""
    repaired, broken = probes.repaired_by_more_steps, probes.broken_by_more_steps
    # Only the last step of an attack is judged, so a few images may change either way.
    if repaired - broken <= DEVIATIONS * sqrt(repaired + broken):
        return []
    return [
        f"More steps help the model: after {probes.steps} steps of PGD at {probes.epsilon_text} "
        f"{probes.steps_correct} of {probes.images} images are right, after twice as many "
        f"{probes.more_steps_correct}. The attack does not ascend (steps too long, noisy or masked "
        "gradients): attack with shorter steps and several restarts, and with AutoAttack."
    ]


def zero_epsilon_differs(probes: Probes) -> list[str]:
    """Alarm if an attack of radius 0, which changes no pixel, changes the accuracy."""
    if probes.zero_epsilon_correct == probes.clean_correct:
        return []
    return [
        f"Epsilon 0 differs from clean: {probes.zero_epsilon_correct} of {probes.images} images "
        f"are right under an attack that changes nothing, {probes.clean_correct} without attack. "
        "The model is random, or is in another state or sees other pixels when attacked: make its "
        "forward pass a function of the pixels alone."
    ]


def unbounded_attack_fails(probes: Probes) -> list[str]:
    """Alarm if images survive an attack that may change every pixel to any value.

    Such an attack could show the model an image of another class.
    """
    chance = 1 / probes.classes
    slack = DEVIATIONS * standard_error(chance, probes.images)
    if probes.unbounded_correct / probes.images <= chance + slack:
        return []
    return [
        f"Unbounded attack fails: with every pixel free, {probes.unbounded_correct} of "
        f"{probes.images} images are still right, more than chance ({chance:.1%}). Gradients do "
        "not lead to the model's mistakes (masked, quantised or saturated): remove what masks them "
        "or replace its gradient by one that passes, and attack with AutoAttack, whose Square "
        "needs none."
    ]


def softmax_instead_of_logits(probes: Probes) -> list[str]:
    """Alarm if the model returns probabilities, on which the cross-entropy is nearly flat."""
    if not probes.softmax_output:
        return []
    return [
        "Softmax instead of logits: the model's outputs are probabilities (between 0 and 1, sum "
        "1). The cross-entropy of an attack applies softmax again and its gradients nearly vanish: "
        "give the evaluation the logits."
    ]


def randomised_forward(probes: Probes) -> list[str]:
    """Alarm if two passes of the same images differ: attacks then aim at a moving target."""
    if probes.repeat_difference <= SAME_OUTPUT:
        return []
    return [
        "Randomised forward pass: two passes of the same images give logits that differ by "
        f"{probes.repeat_difference:.2g} of their length. Attacks follow the gradient of a model "
        "that is gone at the next step: fix the random numbers, or attack the expectation over "
        "many passes."
    ]


def zero_gradients(probes: Probes) -> list[str]:
    """Alarm if the gradient of many images is exactly zero, because PGD cannot move there."""
    if probes.zero_gradients <= ZERO_GRADIENTS_ALLOWED * probes.clean_correct:
        return []
    return [
        f"Zero gradients: on {probes.zero_gradients} of {probes.clean_correct} correctly "
        "classified images the gradient of the cross-entropy is exactly zero, and PGD cannot move. "
        "Logits are too large (the softmax saturates in float32), or a step such as rounding has "
        "no gradient: divide the logits by a constant, replace the step's gradient by one that "
        "passes, and attack with AutoAttack."
    ]


def training_mode(probes: Probes) -> list[str]:
    """Alarm if predictions depend on the other images of the batch, as in training mode."""
    if probes.training_modules:
        return [
            f"Model in train mode: {probes.training_modules[0]} (of "
            f"{len(probes.training_modules)} parts). Predictions depend on batch statistics or "
            "dropout: call .eval() on the whole model."
        ]
    if probes.batch_dependence > SAME_IN_ANY_BATCH:
        return [
            "Model in train mode: an image's logits change by "
            f"{probes.batch_dependence:.2g} of their length with the other images of the batch, "
            "although every part says eval. Some layer uses batch statistics: make it use its "
            "running statistics."
        ]
    return []


MEASUREMENT_ALARMS: tuple[MeasurementAlarm, ...] = (
    rises_with_epsilon,
    clean_below_chance,
    one_class_only,
    attack_above_clean,
    autoattack_above_pgd,
)
PROBE_ALARMS: tuple[ProbeAlarm, ...] = (
    training_mode,
    softmax_instead_of_logits,
    randomised_forward,
    zero_gradients,
    zero_epsilon_differs,
    more_steps_help,
    unbounded_attack_fails,
)


def all_alarms(measurements: Sequence[Measurement], probes: Probes | None = None) -> list[str]:
    """The messages of all alarms about the measurements and, if there are any, the probes."""
    messages = [message for alarm in MEASUREMENT_ALARMS for message in alarm(measurements)]
    if probes is not None:
        messages += [message for alarm in PROBE_ALARMS for message in alarm(probes)]
    return messages
