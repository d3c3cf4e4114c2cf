"""The protocols of a robust evaluation. Each is a function that returns measurements.

To add a protocol, write a function here or in a file beside this one, and add it to a list below.
"""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from solo_adv.evaluation.attacks.autoattack import evaluate_autoattack
from solo_adv.evaluation.attacks.bench import Bench
from solo_adv.evaluation.attacks.judging import clean_accuracy, pgd_in_turn, pgd_runs
from solo_adv.evaluation.attacks.losses import CHOICES
from solo_adv.evaluation.corruptions.judging import evaluate_corruptions
from solo_adv.evaluation.corruptions.sources import Source
from solo_adv.evaluation.heads.knn import knn_accuracy
from solo_adv.evaluation.settings import RobustSettings
from solo_adv.evaluation.subject import Features
from solo_adv.report.measurement import KNN, Measurement


class Case(NamedTuple):
    """A classifier to judge, and the settings by which to judge it."""

    bench: Bench
    settings: RobustSettings
    directory: Path | None
    """Where a protocol that takes long saves its progress; None saves nothing."""
    corrupted: Source | None = None
    """The corrupted images; None leaves the protocol of corruptions out."""


def knn(features: Features, settings: RobustSettings) -> Iterator[Measurement]:
    """Classify by a vote of the nearest training features, which needs no head."""
    begun = time.perf_counter()
    top1, _ = knn_accuracy(*features, k=settings.knn_k, temperature=settings.knn_temperature)
    total = len(features.test_labels)
    yield Measurement(
        name=KNN,
        correct=round(top1 * total),
        total=total,
        settings={"k": settings.knn_k, "temperature": settings.knn_temperature},
        seconds=round(time.perf_counter() - begun, 3),
    )


def clean(case: Case) -> Iterator[Measurement]:
    """Classify the images without attack."""
    yield from clean_accuracy(case.bench)


def pgd(case: Case) -> Iterator[Measurement]:
    """Attack by PGD in every norm and at every radius."""
    settings = case.settings
    for ball, step_size in settings.attacks:
        attacks = pgd_runs(
            *(ball.epsilon, step_size, settings.steps, settings.random_start, settings.restarts),
            norm=ball.norm,
        )
        yield from pgd_in_turn(case.bench, attacks, CHOICES[settings.attack_loss])


def corruptions(case: Case) -> Iterator[Measurement]:
    """Classify corrupted images, if the settings say so. A killed evaluation continues."""
    if case.corrupted is not None:
        yield evaluate_corruptions(case.bench, case.corrupted, directory=case.directory)


def autoattack(case: Case) -> Iterator[Measurement]:
    """Attack by AutoAttack in every ball, if the settings say so. A killed attack continues."""
    for ball, _ in case.settings.attacks if case.settings.autoattack else ():
        yield evaluate_autoattack(
            case.bench, epsilon=ball.epsilon, norm=ball.norm, directory=case.directory
        )


ON_FEATURES: tuple[Callable[[Features, RobustSettings], Iterator[Measurement]], ...] = (knn,)
"""The protocols that judge the encoder's features, before there is a head."""

ON_CLASSIFIER: tuple[Callable[[Case], Iterator[Measurement]], ...] = (
    clean,
    pgd,
    corruptions,
    autoattack,
)
"""The protocols that judge encoder and head, in the order in which they run. Those that may take
hours come last."""
