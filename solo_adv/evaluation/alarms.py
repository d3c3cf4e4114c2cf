"""Results that cannot be right: one function an alarm, each naming the cause and the remedy."""

from collections.abc import Callable, Sequence
from itertools import pairwise

from solo_adv.evaluation.attacks import AttackResult

Alarm = Callable[[float, Sequence[AttackResult]], list[str]]


def rises_with_epsilon(clean: float, attacks: Sequence[AttackResult]) -> list[str]:
    """A larger ball contains the smaller one: the same attack must not find less in it."""
    messages = []
    for name in dict.fromkeys(attack.name for attack in attacks):
        same = sorted((a for a in attacks if a.name == name), key=lambda a: a.epsilon)
        for smaller, larger in pairwise(same):
            if larger.accuracy > smaller.accuracy:
                messages.append(
                    f"{name}: accuracy rises from {smaller.accuracy:.2%} at {smaller.epsilon_text} "
                    f"to {larger.accuracy:.2%} at {larger.epsilon_text}. The attack at "
                    f"{larger.epsilon_text} has not converged, or gradients are masked: attack "
                    "with more steps and restarts, and trust the lower figure for both."
                )
    return messages


def attack_above_clean(clean: float, attacks: Sequence[AttackResult]) -> list[str]:
    """An attack may always leave the image as it is, so it cannot help the model."""
    return [
        f"{a.name} at {a.epsilon_text}: accuracy under attack, {a.accuracy:.2%}, is above clean "
        f"accuracy, {clean:.2%}. The two were measured on different images, heads or modes of the "
        "model (batch statistics): evaluate both again in one run, with the model in eval mode."
        for a in attacks
        if a.accuracy > clean
    ]


ALARMS: tuple[Alarm, ...] = (rises_with_epsilon, attack_above_clean)


def all_alarms(clean: float, attacks: Sequence[AttackResult]) -> list[str]:
    """What every alarm says of a clean accuracy and accuracies under attack (fractions)."""
    return [message for alarm in ALARMS for message in alarm(clean, attacks)]
