"""Repeats the published evaluations of a model with its published heads and compares figures."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from solo_adv.catalogue.download import locate
from solo_adv.catalogue.entry import Entry, Evaluation
from solo_adv.catalogue.loading import load_encoder
from solo_adv.data.labelled import load_labelled
from solo_adv.encoders.weights import read_head
from solo_adv.evaluation import RobustSettings, evaluate_robustness
from solo_adv.report.measurement import AUTOATTACK, Measurement, by_label
from solo_adv.report.record import Report
from solo_adv.report.uncertainty import margin
from solo_adv.support.errors import UserError
from solo_adv.support.progress import say

DEVIATIONS = 3.0
"""Width of the intervals in which two measurements of one accuracy agree; 99.7 % do."""


@dataclass(frozen=True)
class Comparison:
    """A published figure and the same figure measured now; accuracies are fractions.

    Attributes:
        allowed: Largest accepted difference on the side of the new figure; see :func:`margin`.
    """

    head: str
    figure: str
    published: float
    measured: float
    allowed: float

    @property
    def holds(self) -> bool:
        """Whether the two figures agree."""
        return abs(self.published - self.measured) <= self.allowed


def evaluate(
    entry: Entry,
    *,
    data: Mapping[str, Any] | None = None,
    max_images: int | None = None,
    autoattack: bool = True,
    device: str = "cpu",
    quiet: bool = False,
) -> list[Comparison]:
    """Repeat a model's published evaluations on whole images and compare every figure.

    Says which published evaluations are not repeated, unless ``quiet``.

    Args:
        entry: The model.
        data: Settings that replace those of the training run's ``data`` section, such as the path.
        max_images: Number of test images, at most; None: as many as in the published evaluation.
        autoattack: Whether to repeat AutoAttack as well, if it was published. Without it, a report
            that adds only AutoAttack to another of the same head is not repeated.
        device: Device to evaluate on.
        quiet: Whether to show no progress.

    Raises:
        UserError: The data are not those of the report, or a file cannot be had.
    """
    train_set, test_set = load_labelled(
        entry.training["config"]["data"], dict(data or {}), input_size=entry.image_size
    )
    comparisons: list[Comparison] = []
    repeated, left_out = _repeated(entry, autoattack)
    if left_out and not quiet:
        say(f"Not repeated: {'; '.join(left_out)}.")
    for evaluation in repeated:
        if test_set.fingerprint() != evaluation.test_data:
            raise UserError(
                f"{test_set.name} is not the test set on which {entry.name} was evaluated "
                f"(fingerprint {test_set.fingerprint()}, not {evaluation.test_data}): give its "
                "path with --data."
            )
        file = locate(evaluation.report, entry.base_urls)
        published = Report.read(file)
        settings = RobustSettings.from_config(published.config)
        images = min(max_images or published.num_images, published.num_images)
        encoder = load_encoder(entry, settings.features)
        measured = evaluate_robustness(
            encoder,
            train_set,
            test_set,
            replace(settings, max_images=images, autoattack=settings.autoattack and autoattack),
            method=entry.method,
            checkpoint=entry.name,
            pretrain_config=entry.training["config"],
            device=device,
            crop_passes=encoder.crop_passes,
            head=read_head(
                locate(entry.files[evaluation.head], entry.base_urls), encoder.features_dim
            ),
            quiet=quiet,
        ).report
        comparisons += _compared(evaluation.head, published, measured)
    return comparisons


def _repeated(entry: Entry, autoattack: bool) -> tuple[list[Evaluation], list[str]]:
    """The evaluations to repeat, and of the others the reports' names with the reason.

    Only evaluations of whole images with published heads can be repeated. Without AutoAttack, one
    whose other figures another evaluation of the same head has is left out as well.
    """
    repeated: list[Evaluation] = []
    left_out: list[str] = []
    for one in sorted(entry.evaluations, key=lambda e: not autoattack and _has_autoattack(e)):
        others = (by_label(other.measurements) for other in repeated if other.head == one.head)
        own = {label for label, m in by_label(one.measurements).items() if m.name != AUTOATTACK}
        if one.finetune != "none":
            reason = "its fine-tuned network is not published"
        elif one.protocol != "central":
            reason = "it is not of whole images"
        elif not autoattack and any(own <= set(other) for other in others):
            reason = "another report has all of its figures but AutoAttack"
        else:
            repeated.append(one)
            continue
        left_out.append(f"{Path(one.report.path).name} ({reason})")
    return repeated, left_out


def _has_autoattack(evaluation: Evaluation) -> bool:
    return AUTOATTACK in {m.name for m in evaluation.measurements}


def _compared(head: str, published: Report, measured: Report) -> list[Comparison]:
    now = measured.by_label
    return [
        Comparison(head, label, old.accuracy, now[label].accuracy, _allowed(old, now[label]))
        for label, old in published.by_label.items()
        if label in now
    ]


def _allowed(before: Measurement, now: Measurement) -> float:
    before_now = (before.accuracy, before.images), (now.accuracy, now.images)
    # A difference of one image is always accepted.
    return max(margin(*before_now, DEVIATIONS), 1 / now.images)


def expected_seconds(
    entry: Entry, *, max_images: int | None = None, autoattack: bool = True
) -> tuple[float, float]:
    """How long :func:`evaluate` will take by what the published evaluations took.

    Args:
        entry: The model.
        max_images: As for :func:`evaluate`.
        autoattack: As for :func:`evaluate`.

    Returns:
        Seconds on the machine of the published evaluations, and the part of them for AutoAttack.
    """
    total = attacked = 0.0
    for evaluation in _repeated(entry, autoattack)[0]:
        report = Report.read(locate(evaluation.report, entry.base_urls))
        share = min(max_images or report.num_images, report.num_images) / report.num_images
        ensemble = share * sum(m.seconds for m in report.attacks if m.name == AUTOATTACK)
        heads = sum(s for stage, s in report.seconds.items() if stage.endswith(" head"))
        # Features of the training images and probes take as long for few test images as for many.
        fixed = sum(report.seconds.get(stage, 0.0) for stage in ("features", "probes"))
        # Published heads are not trained again.
        whole = fixed + share * (report.seconds["total"] - heads - fixed)
        attacked += ensemble if autoattack else 0.0
        total += whole if autoattack else max(0.0, whole - ensemble)
    return total, attacked
