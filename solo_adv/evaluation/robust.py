"""From a frozen encoder to a report: kNN, linear head, clean accuracy, accuracy under attack."""

import copy
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from solo_adv.adversaries import PGD, Ball
from solo_adv.adversaries.ball import epsilon_text
from solo_adv.data import ImageSet
from solo_adv.encoders.classifier import Classifier, frozen
from solo_adv.evaluation.aggregation import (
    AggregatingEncoder,
    CropStacks,
    FixedCrops,
    crop_spec,
)
from solo_adv.evaluation.attacks.autoattack import evaluate_autoattack
from solo_adv.evaluation.attacks.examples import attack_examples
from solo_adv.evaluation.attacks.judging import clean_accuracy, evaluate_pgd
from solo_adv.evaluation.heads.features import extract
from solo_adv.evaluation.heads.finetune import finetune_adversarially
from solo_adv.evaluation.heads.kept import kept_weights
from solo_adv.evaluation.heads.knn import knn_accuracy
from solo_adv.evaluation.heads.linear import train_head, train_head_on_features
from solo_adv.evaluation.images import select
from solo_adv.evaluation.settings import RobustSettings
from solo_adv.evaluation.trust.alarms import all_alarms
from solo_adv.evaluation.trust.probes import probe
from solo_adv.report.record import AttackResult, Report
from solo_adv.support import environment
from solo_adv.support.errors import UserError
from solo_adv.support.fingerprints import fingerprint, model_fingerprint, weights_fingerprint
from solo_adv.support.processes import rank, same_everywhere
from solo_adv.support.progress import Stages

EXAMPLE_EPSILON = 8 / 255


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
) -> Report:
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
    judged = select(test_set, settings.max_images, settings.seed)
    stage = Stages(quiet or rank() > 0)
    with stage("total"), frozen(encoder):
        subject = _subject(encoder, train_set, judged, settings, pretrain_config)
        batch_size = settings.images_per_batch
        with stage("features"):
            train_features, train_labels = extract(
                subject.encoder, subject.train_set, batch_size, device
            )
            test_features, test_labels = extract(
                subject.encoder, subject.test_set, batch_size, device
            )
        with stage("knn") as said:
            knn, _ = knn_accuracy(
                train_features,
                train_labels,
                test_features,
                test_labels,
                k=settings.knn_k,
                temperature=settings.knn_temperature,
            )
            said.append(f"{knn:.2%}")
        with stage(f"{settings.linear} head"):
            kept = directory if settings.autoattack else None
            if head is not None:
                classifier = Classifier(subject.encoder, head.to(device))
            else:
                classifier = _classifier(
                    subject, train_features, train_labels, settings, directory=kept
                )
        del train_features, test_features  # gigabytes on a large set; the attacks need the room
        with stage("clean") as said:
            clean = clean_accuracy(
                classifier, subject.test_set, batch_size=batch_size, device=device
            )
            said.append(f"{clean.top1:.2%}")
        attacks = []
        for epsilon in settings.epsilons:
            with stage(f"PGD-{settings.steps} at {epsilon_text(epsilon)}") as said:
                attacks.append(_attack(classifier, subject.test_set, epsilon, settings, device))
                said.append(f"{attacks[-1].accuracy:.2%}")
        shown = min(settings.epsilons, key=lambda epsilon: abs(epsilon - EXAMPLE_EPSILON))
        probes = None
        if settings.alarm_images:
            with stage("probes"):
                probes = probe(
                    classifier,
                    select(subject.test_set, settings.alarm_images, settings.seed),
                    num_classes=train_set.num_classes,
                    ball=Ball("linf", shown),
                    steps=settings.steps,
                    step_size=settings.step_size,
                    batch_size=batch_size,
                    device=device,
                    seed=settings.seed,
                )
        if settings.autoattack:
            for epsilon in settings.epsilons:
                with stage(f"AutoAttack at {epsilon_text(epsilon)}") as said:
                    attacks.append(
                        evaluate_autoattack(
                            classifier,
                            subject.test_set,
                            epsilon=epsilon,
                            batch_size=batch_size,
                            device=device,
                            seed=settings.seed,
                            directory=directory,
                            compile=settings.compile,
                        )
                    )
                    said.append(f"{attacks[-1].accuracy:.2%}")
        with stage("examples"):
            adversary = PGD(shown, settings.step_size, settings.steps, settings.random_start)
            examples = attack_examples(
                classifier, subject.test_set, adversary, device=device, seed=settings.seed
            )
    config = settings.to_config()
    head_state = None
    if settings.finetune == "none":
        head_state = {name: w.cpu().clone() for name, w in classifier.head.state_dict().items()}
    return Report(
        method=method,
        checkpoint=str(checkpoint),
        protocol=settings.protocol,
        linear=settings.linear,
        features=settings.features,
        clean=clean.top1,
        clean_top5=clean.top5,
        knn=knn,
        attacks=attacks,
        alarms=all_alarms(clean.top1, attacks, probes),
        num_images=len(judged),
        head=config["head"],
        config=config,
        pretrain_config=dict(pretrain_config),
        crop_passes=crop_passes,
        seed=settings.seed,
        versions=environment.versions(),
        git_commit=environment.git_commit(),
        data={
            "name": _common_name(train_set, test_set),
            "fingerprint_train": train_set.fingerprint(),
            "fingerprint_test": test_set.fingerprint(),
            "train_images": len(train_set),
            "test_images": len(test_set),
            "classes": train_set.num_classes,
        },
        hardware=environment.hardware(device),
        seconds=stage.seconds,
        date=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        probes=None if probes is None else asdict(probes),
        weights={
            "encoder": weights_fingerprint(encoder.state_dict()),
            "head": None if head_state is None else weights_fingerprint(head_state),
            "head_given": head is not None,
        },
        examples=examples,
        head_state=head_state,
    )


class _Subject(NamedTuple):
    """What is judged: an encoder, and sets of what it takes."""

    encoder: nn.Module
    train_set: ImageSet
    test_set: ImageSet


def _subject(
    encoder: nn.Module,
    train_set: ImageSet,
    test_set: ImageSet,
    settings: RobustSettings,
    pretrain_config: Mapping[str, Any],
) -> _Subject:
    if settings.protocol == "central":
        return _Subject(encoder, train_set, test_set)
    spec = crop_spec(
        pretrain_config,
        num_crops=settings.num_crops,
        augmentation=settings.crop_augmentation,
    )
    crops = FixedCrops(spec, settings.seed)
    aggregating = AggregatingEncoder(
        encoder, crops, space=settings.space, max_crops=settings.batch_size
    ).eval()
    if settings.space == "image":
        return _Subject(aggregating, train_set, test_set)
    return _Subject(aggregating, CropStacks(train_set, crops), CropStacks(test_set, crops))


def _classifier(
    subject: _Subject,
    features: Tensor,
    labels: Tensor,
    settings: RobustSettings,
    *,
    directory: Path | None,
) -> Classifier:
    """The head on the encoder, or the copy of both that was fine-tuned; the same everywhere."""

    def train() -> Classifier:
        head = _head(subject.encoder, subject.train_set, features, labels, settings)
        if settings.finetune == "none":
            return Classifier(subject.encoder, head)
        return finetune_adversarially(
            subject.encoder,
            head,
            subject.train_set,
            recipe=settings.finetune_recipe,
            adversary=_train_adversary(settings, "train_frozen"),
            device=features.device,
            seed=settings.seed,
        )

    if directory is None:
        classifier = train()
    else:
        head = nn.Linear(features.shape[1], subject.train_set.num_classes).to(features.device)
        tuned = settings.finetune != "none"
        encoder = copy.deepcopy(subject.encoder) if tuned else subject.encoder
        template = Classifier(encoder, head).requires_grad_(False)
        training = (settings.linear, settings.head, settings.finetune, settings.finetune_recipe)
        attack = (settings.train_epsilon, settings.train_steps, settings.train_step_size)
        key = fingerprint(
            model_fingerprint(subject.encoder),
            subject.train_set.fingerprint(),
            (*training, *attack, settings.crafting, settings.seed),
        )
        classifier = kept_weights(
            directory / f"classifier-{key}.pt",
            template,
            train,
            lambda classifier: classifier if tuned else classifier.head,
        )
    same_everywhere(classifier)
    return classifier


def _head(
    encoder: nn.Module,
    train_set: ImageSet,
    features: Tensor,
    labels: Tensor,
    settings: RobustSettings,
) -> nn.Linear:
    num_classes = train_set.num_classes
    if settings.linear == "standard":
        return train_head_on_features(
            features, labels, num_classes=num_classes, recipe=settings.head, seed=settings.seed
        )
    return train_head(
        encoder,
        train_set,
        num_classes=num_classes,
        features_dim=features.shape[1],
        recipe=settings.head,
        adversary=_train_adversary(settings, "eval"),
        device=features.device,
        seed=settings.seed,
        crafting=settings.crafting,
    )


def _train_adversary(settings: RobustSettings, batch_norm: str) -> PGD:
    return PGD(
        settings.train_epsilon,
        settings.train_step_size,
        settings.train_steps,
        batch_norm=batch_norm,
    )


def _attack(
    classifier: Classifier,
    judged: ImageSet,
    epsilon: float,
    settings: RobustSettings,
    device: torch.device | str,
) -> AttackResult:
    return evaluate_pgd(
        classifier,
        judged,
        epsilon=epsilon,
        steps=settings.steps,
        step_size=settings.step_size,
        random_start=settings.random_start,
        restarts=settings.restarts,
        batch_size=settings.images_per_batch,
        device=device,
        seed=settings.seed,
        crafting=settings.crafting,
    )


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
