"""Evaluates a frozen encoder: runs the protocols and the probes, and makes the report."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from solo_adv.adversaries import PGD
from solo_adv.data import ImageSet
from solo_adv.data.labelled import check_labelled
from solo_adv.encoders.classifier import frozen
from solo_adv.evaluation.attacks.bench import Bench
from solo_adv.evaluation.attacks.examples import attack_examples
from solo_adv.evaluation.attacks.losses import LOSSES
from solo_adv.evaluation.corruptions.sources import source_of
from solo_adv.evaluation.heads.linear import unsettled
from solo_adv.evaluation.images import select
from solo_adv.evaluation.protocols import ON_CLASSIFIER, ON_FEATURES, Case
from solo_adv.evaluation.settings import RobustSettings
from solo_adv.evaluation.subject import classifier_of, subject_of
from solo_adv.evaluation.trust.alarms import all_alarms
from solo_adv.evaluation.trust.probes import Probes, probe
from solo_adv.evaluation.trust.remarks import other_loss_breaks_more
from solo_adv.report.examples import Examples
from solo_adv.report.measurement import AUTOATTACK, CLEAN, Measurement
from solo_adv.report.record import Report
from solo_adv.support import environment
from solo_adv.support.errors import UserError
from solo_adv.support.fingerprints import weights_fingerprint
from solo_adv.support.processes import rank
from solo_adv.support.progress import Stages


class Outcome(NamedTuple):
    """The result of an evaluation, for :func:`solo_adv.report.writing.write_report`."""

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
    origin: Mapping[str, Any] | None = None,
    quiet: bool = False,
) -> Outcome:
    """Judge an encoder by the paper's protocol. All figures are of the same test images.

    Under torchrun every process calls this with the same arguments. The processes share the
    attacks, and each returns the same figures as a single process would.

    Args:
        encoder: a differentiable network from pixels (N, 3, H, W) in [0, 1] to the features (N, D)
            that ``settings.features`` names. It is moved to ``device``. Its parameters, buffers,
            modes and ``requires_grad`` flags are the same afterwards.
        train_set: labelled images that train the head and are kNN's neighbours.
        test_set: labelled images of the same classes.
        settings: how to judge.
        method: name of the method, which the report records.
        checkpoint: path of the checkpoint, which the report records.
        pretrain_config: config of the pretraining run, which the report records. With
            ``protocol=crops``, crops are drawn by its section ``crops``.
        device: where to compute.
        crop_passes: compute of the pretraining run, which the report records; None if unknown.
        directory: where the progress of AutoAttack and of corruptions is saved, with the head that
            they judge, so that a killed evaluation continues; None saves nothing.
        head: a trained head to judge; with None, a head is trained.
        origin: further entries of the report's ``data``, such as the drawn labels.
        quiet: whether to print nothing about finished stages on stderr.

    Raises:
        UserError: a set cannot be judged on (:func:`check_labelled`), a head is given
            although the encoder is to be fine-tuned, or there are no such corrupted images.

    Source:
        Paper section 3.2 and Tables 1, 3 and 4.
    """
    check_labelled(train_set, test_set)
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
        corrupted = None
        if settings.corruptions is not None:
            corrupted = source_of(
                settings.corruptions,
                judged,
                max_images=settings.max_images,
                seed=settings.seed,
                frost=settings.frost_pictures,
            )
        subject = subject_of(encoder, train_set, judged, settings, pretrain_config)
        with stage("features"):
            features = subject.features(settings.images_per_batch, device)
        for on_features in ON_FEATURES:
            note(on_features(features, settings))
        with stage(f"{settings.linear} head"):
            classifier = classifier_of(subject, features, settings, head=head, directory=directory)
        unfinished = None
        if head is None and settings.linear == "standard" and settings.finetune == "none":
            assert isinstance(classifier.head, nn.Linear)
            unfinished = unsettled(classifier.head, *features)
        del features  # frees memory for the attacks
        bench = Bench(
            classifier,
            subject.test_set,
            settings.images_per_batch,
            device,
            settings.seed,
            settings.crafting,
        )
        case = Case(bench, settings, directory, corrupted)
        for on_classifier in ON_CLASSIFIER:
            note(on_classifier(case))
        if unfinished is not None:
            measurements = [
                replace(m, notes=(*m.notes, unfinished)) if m.name == CLEAN else m
                for m in measurements
            ]
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
            measurements = _with_remark(measurements, probes, settings)
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
        data={**data_on_record(train_set, test_set), **(origin or {})},
        hardware=environment.hardware(device),
        seconds=stage.seconds,
        date=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        probes=None if probes is None else asdict(probes),
        weights=weights_on_record(encoder, head_state, given=head is not None),
    )
    return Outcome(report, examples, head_state)


def _with_remark(
    measurements: Sequence[Measurement], probes: Probes, settings: RobustSettings
) -> list[Measurement]:
    """Add to the figures of PGD that another loss would lower them, where nothing stronger ran."""
    loss = settings.attack_loss
    remark = other_loss_breaks_more(probes, loss) if loss in LOSSES else None
    if remark is None:
        return list(measurements)
    stronger = [m.ball for m in measurements if m.name == AUTOATTACK]
    return [
        replace(m, notes=(*m.notes, remark))
        if m.ball is not None and m.name != AUTOATTACK and m.ball not in stronger
        else m
        for m in measurements
    ]


def weights_on_record(
    encoder: nn.Module, head: Mapping[str, Tensor] | None, *, given: bool
) -> dict[str, Any]:
    """The entry ``weights`` of a :class:`Report`."""
    return {
        "encoder": weights_fingerprint(encoder.state_dict()),
        "head": None if head is None else weights_fingerprint(head),
        "head_given": given,
    }


def data_on_record(train_set: ImageSet, test_set: ImageSet) -> dict[str, Any]:
    """The entry ``data`` of a :class:`Report`."""
    return {
        "name": _common_name(train_set, test_set),
        "fingerprint_train": train_set.fingerprint(),
        "fingerprint_test": test_set.fingerprint(),
        "train_images": len(train_set),
        "test_images": len(test_set),
        "classes": train_set.num_classes,
        **({"class_names": list(train_set.classes)} if train_set.classes else {}),
    }


def _common_name(train_set: ImageSet, test_set: ImageSet) -> str:
    """The data set's name: ``cifar10`` for ``cifar10 train`` and ``cifar10 test``.

    If the two sets are of different data sets, it has both names.
    """
    train, test = train_set.name.removesuffix(" train"), test_set.name.removesuffix(" test")
    return train if train == test else f"{train_set.name}, {test_set.name}"
