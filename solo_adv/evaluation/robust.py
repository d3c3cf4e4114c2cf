"""From a frozen encoder to a report: a walk over the protocols, probes, alarms and examples."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from solo_adv.adversaries import PGD
from solo_adv.data import ImageSet
from solo_adv.encoders.classifier import frozen
from solo_adv.evaluation.attacks.bench import Bench
from solo_adv.evaluation.attacks.examples import attack_examples
from solo_adv.evaluation.images import select
from solo_adv.evaluation.protocols import ON_CLASSIFIER, ON_FEATURES, Case
from solo_adv.evaluation.settings import RobustSettings
from solo_adv.evaluation.subject import classifier_of, subject_of
from solo_adv.evaluation.trust.alarms import all_alarms
from solo_adv.evaluation.trust.probes import probe
from solo_adv.report.examples import Examples
from solo_adv.report.measurement import Measurement
from solo_adv.report.record import Report
from solo_adv.support import environment
from solo_adv.support.errors import UserError
from solo_adv.support.fingerprints import weights_fingerprint
from solo_adv.support.processes import rank
from solo_adv.support.progress import Stages


class Outcome(NamedTuple):
    """What an evaluation leaves: :func:`solo_adv.report.writing.write_report` writes it."""

    report: Report
    examples: Examples
    head: dict[str, Tensor] | None
    """The weights of the head that was judged; None if the encoder was fine-tuned with it."""


def evaluate_robustness(
    encoder: nn.Module,
    train_set: ImageSet,
    test_set: ImageSet,
    settings: RobustSettings,
    *,
    method: str,
    checkpoint: str,
    pretrain_config: Mapping[str, Any],
    device: torch.device | str,
    crop_passes: int | None = None,
    directory: Path | None = None,
    head: nn.Linear | None = None,
    quiet: bool = False,
) -> Outcome:
    """Judge an encoder by the paper's protocol; all figures are of the same test images.

    Under torchrun every process calls it with the same arguments; they share the attacks, and each
    returns the same figures as a single process.

    Args:
        encoder: from pixels (N, 3, H, W) in [0, 1] to the features (N, D) that
            ``settings.features`` names, differentiable. Moved to ``device``; its parameters,
            buffers, modes and ``requires_grad`` flags are afterwards as they were.
        train_set: labelled images, for the head and as kNN's neighbours.
        test_set: labelled images with the same classes.
        method, checkpoint, crop_passes: for the record.
        pretrain_config: for the record; ``protocol=crops`` draws crops by its section ``crops``.
        directory: where AutoAttack's progress is kept, and the head it attacks, so that a killed
            evaluation continues; None: nowhere.
        head: judge this one, trained earlier, instead of training one.
        quiet: say nothing about finished stages on stderr.

    Raises:
        UserError: a set is unlabelled or empty, the two have different classes, or a head is given
            where the encoder is to be fine-tuned.

    Source:
        Paper section 3.2 and Tables 1, 3 and 4.
    """
    _check_sets(train_set, test_set)
    if head is not None and settings.finetune != "none":
        raise UserError("finetune=adversarial trains its own head: give no head_weights with it.")
    encoder.to(device)
    stage = Stages(quiet or rank() > 0)
    measurements: list[Measurement] = []

    def note(found: Iterable[Measurement]) -> None:
        for measurement in found:
            measurements.append(measurement)
            stage.say(measurement.label, measurement.seconds, f"{measurement.accuracy:.2%}")

    with stage("total"), frozen(encoder):
        judged = select(test_set, settings.max_images, settings.seed)
        subject = subject_of(encoder, train_set, judged, settings, pretrain_config)
        with stage("features"):
            features = subject.features(settings.images_per_batch, device)
        for on_features in ON_FEATURES:
            note(on_features(features, settings))
        with stage(f"{settings.linear} head"):
            classifier = classifier_of(subject, features, settings, head=head, directory=directory)
        del features  # the attacks need the room
        bench = Bench(
            classifier,
            subject.test_set,
            settings.images_per_batch,
            device,
            settings.seed,
            settings.crafting,
        )
        case = Case(bench, settings, directory)
        for on_classifier in ON_CLASSIFIER:
            note(on_classifier(case))
        probes = None
        if settings.alarm_images:
            with stage("probes"):
                probes = probe(
                    bench.drawn(settings.alarm_images),
                    num_classes=train_set.num_classes,
                    ball=settings.shown,
                    steps=settings.steps,
                    step_size=settings.step_size,
                )
        with stage("examples"):
            adversary = PGD(
                settings.shown.epsilon,
                settings.step_size,
                settings.steps,
                settings.random_start,
                norm=settings.norm,
            )
            examples = attack_examples(bench, adversary)
    head_state = None
    if settings.finetune == "none":
        head_state = {name: w.cpu().clone() for name, w in classifier.head.state_dict().items()}
    report = Report(
        method=method,
        checkpoint=str(checkpoint),
        measurements=measurements,
        alarms=all_alarms(measurements, probes),
        config=settings.to_config(),
        pretrain_config=dict(pretrain_config),
        crop_passes=crop_passes,
        versions=environment.versions(),
        git_commit=environment.git_commit(),
        data=data_on_record(train_set, test_set),
        hardware=environment.hardware(device),
        seconds=stage.seconds,
        date=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        probes=None if probes is None else asdict(probes),
        weights=weights_on_record(encoder, head_state, given=head is not None),
    )
    return Outcome(report, examples, head_state)


def weights_on_record(
    encoder: nn.Module, head: Mapping[str, Tensor] | None, *, given: bool
) -> dict[str, Any]:
    """What a report says of the weights of encoder and head; see :class:`Report`."""
    return {
        "encoder": weights_fingerprint(encoder.state_dict()),
        "head": None if head is None else weights_fingerprint(head),
        "head_given": given,
    }


def data_on_record(train_set: ImageSet, test_set: ImageSet) -> dict[str, Any]:
    """What a report says of the data; see :class:`Report`."""
    return {
        "name": _common_name(train_set, test_set),
        "fingerprint_train": train_set.fingerprint(),
        "fingerprint_test": test_set.fingerprint(),
        "train_images": len(train_set),
        "test_images": len(test_set),
        "classes": train_set.num_classes,
    }


def _check_sets(train_set: ImageSet, test_set: ImageSet) -> None:
    for image_set in (train_set, test_set):
        if len(image_set) == 0:
            raise UserError(f"{image_set.name} holds no image; check the data path.")
        if not image_set.labelled:
            raise UserError(
                f"{image_set.name} has images without label, and an evaluation needs labels: "
                "choose a labelled set (data.no_labels=false)."
            )
    if train_set.classes != test_set.classes or train_set.num_classes < test_set.num_classes:
        raise UserError(
            f"{train_set.name} ({train_set.num_classes} classes) and {test_set.name} "
            f"({test_set.num_classes} classes) have different classes, so their labels mean "
            "different things. Give the train and test split of one data set."
        )


def _common_name(train_set: ImageSet, test_set: ImageSet) -> str:
    """``cifar10`` of ``cifar10 train`` and ``cifar10 test``; both names if they differ."""
    train, test = train_set.name.removesuffix(" train"), test_set.name.removesuffix(" test")
    return train if train == test else f"{train_set.name}, {test_set.name}"
