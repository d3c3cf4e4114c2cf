"""The protocols of a robust evaluation: each a function that returns measurements.

A new one is a function here, or a file beside this one, and an entry in a list below.
"""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from solo_adv.evaluation.attacks.autoattack import evaluate_autoattack
from solo_adv.evaluation.attacks.bench import Bench
from solo_adv.evaluation.attacks.judging import clean_accuracy, evaluate_pgd
from solo_adv.evaluation.heads.knn import knn_accuracy
from solo_adv.evaluation.settings import RobustSettings
from solo_adv.evaluation.subject import Features
from solo_adv.report.measurement import KNN, Measurement


class Case(NamedTuple):
    """A classifier before its judges, and what they are asked."""

    bench: Bench
    settings: RobustSettings
    directory: Path | None
    """Where a protocol that takes long keeps what it has done; None: nowhere."""


def knn(features: Features, settings: RobustSettings) -> Iterator[Measurement]:
    """The vote of the nearest training features, which needs no head."""
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
    """The images as they are."""
    yield from clean_accuracy(case.bench)


def pgd(case: Case) -> Iterator[Measurement]:
    """PGD on the cross-entropy, at every radius."""
    settings = case.settings
    for epsilon in settings.epsilons:
        yield evaluate_pgd(
            case.bench,
            epsilon=epsilon,
            norm=settings.norm,
            steps=settings.steps,
            step_size=settings.step_size,
            random_start=settings.random_start,
            restarts=settings.restarts,
        )


def autoattack(case: Case) -> Iterator[Measurement]:
    """AutoAttack at every radius, if it is asked for; a killed one continues."""
    settings = case.settings
    for epsilon in settings.epsilons if settings.autoattack else ():
        yield evaluate_autoattack(
            case.bench, epsilon=epsilon, norm=settings.norm, directory=case.directory
        )


ON_FEATURES: tuple[Callable[[Features, RobustSettings], Iterator[Measurement]], ...] = (knn,)
"""What judges the encoder's features, before there is a head."""

ON_CLASSIFIER: tuple[Callable[[Case], Iterator[Measurement]], ...] = (clean, pgd, autoattack)
"""What judges encoder and head, in this order; what takes hours comes last."""
