"""Makes what an evaluation judges: the protocol's encoder, and a classifier on top of it."""

import copy
from collections.abc import Mapping
from dataclasses import astuple
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from solo_adv.adversaries import PGD
from solo_adv.data import ImageSet
from solo_adv.encoders.classifier import Classifier
from solo_adv.evaluation.aggregation import (
    AggregatingEncoder,
    CropStacks,
    FixedCrops,
    crop_spec,
)
from solo_adv.evaluation.heads.features import extract
from solo_adv.evaluation.heads.finetune import finetune_adversarially
from solo_adv.evaluation.heads.kept import kept_weights
from solo_adv.evaluation.heads.linear import train_head, train_head_on_features
from solo_adv.evaluation.settings import RobustSettings
from solo_adv.support.fingerprints import fingerprint, model_fingerprint
from solo_adv.support.processes import same_everywhere


class Features(NamedTuple):
    """The features of all images. On a large set they take gigabytes."""

    train: Tensor
    """Features of the train set, float32 (N, D)."""
    train_labels: Tensor
    """Labels of the train set (N,)."""
    test: Tensor
    """Features of the test set, float32 (M, D)."""
    test_labels: Tensor
    """Labels of the test set (M,)."""


class Subject(NamedTuple):
    """An encoder to judge, and sets of the images or crops that it takes."""

    encoder: nn.Module
    train_set: ImageSet
    test_set: ImageSet

    def features(self, batch_size: int, device: torch.device | str) -> Features:
        """Compute the encoder's features of both sets."""
        train = extract(self.encoder, self.train_set, batch_size, device)
        test = extract(self.encoder, self.test_set, batch_size, device)
        return Features(*train, *test)


def subject_of(
    encoder: nn.Module,
    train_set: ImageSet,
    test_set: ImageSet,
    settings: RobustSettings,
    pretrain_config: Mapping[str, Any],
) -> Subject:
    """The encoder itself or, under ``protocol=crops``, the mean of its features of crops.

    Raises:
        UserError: ``protocol=crops`` is set and the config does not say how crops were drawn.
    """
    if settings.protocol == "central":
        return Subject(encoder, train_set, test_set)
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
        return Subject(aggregating, train_set, test_set)
    return Subject(aggregating, CropStacks(train_set, crops), CropStacks(test_set, crops))


def classifier_of(
    subject: Subject,
    features: Features,
    settings: RobustSettings,
    *,
    head: nn.Linear | None = None,
    directory: Path | None = None,
) -> Classifier:
    """Make the classifier to judge, the same in all processes.

    It is the encoder with a head that is trained on it or, under ``finetune=adversarial``, a
    fine-tuned copy of both.

    Args:
        subject: the encoder, and the images to train on.
        features: features of the subject's images.
        settings: how to train.
        head: a trained head to use; with None, a head is trained.
        directory: where the trained weights are saved if AutoAttack or corruptions will judge them,
            which take long, so that a resumed evaluation judges the same ones; None saves nothing.
    """
    device = features.train.device
    if head is not None:
        return Classifier(subject.encoder, head.to(device))

    def train() -> Classifier:
        head = _head(subject, features, settings)
        if settings.finetune == "none":
            return Classifier(subject.encoder, head)
        return finetune_adversarially(
            subject.encoder,
            head,
            subject.train_set,
            recipe=settings.finetune_recipe,
            adversary=_finetuning_adversary(settings),
            device=device,
            seed=settings.seed,
        )

    if directory is None or not (settings.autoattack or settings.corruptions):
        classifier = train()
    else:
        head = nn.Linear(features.train.shape[1], subject.train_set.num_classes).to(device)
        tuned = settings.finetune != "none"
        encoder = copy.deepcopy(subject.encoder) if tuned else subject.encoder
        template = Classifier(encoder, head).requires_grad_(False)
        training = (settings.linear, settings.head, settings.finetune, settings.finetune_recipe)
        adversary = _train_adversary(settings, "eval")
        random = (adversary.random_start,) if adversary.random_start else ()
        attack = (astuple(adversary.ball), adversary.steps, adversary.step_size, *random)
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


def _head(subject: Subject, features: Features, settings: RobustSettings) -> nn.Linear:
    num_classes = subject.train_set.num_classes
    robust = settings.linear == "robust"
    if not robust and not settings.head.passes_encoder:
        return train_head_on_features(
            features.train,
            features.train_labels,
            num_classes=num_classes,
            recipe=settings.head,
            seed=settings.seed,
        )
    attack = _train_adversary(settings, "eval")
    return train_head(
        subject.encoder,
        subject.train_set,
        num_classes=num_classes,
        features_dim=features.train.shape[1],
        recipe=settings.head,
        adversary=attack if robust else None,
        validation_adversary=attack,
        device=features.train.device,
        seed=settings.seed,
        crafting=settings.crafting,
    )


def _finetuning_adversary(settings: RobustSettings) -> PGD:
    """The attack on which fine-tuning trains.

    That of TRADES and AutoLoRa starts at random and sees the model in eval mode.
    """
    if settings.finetune_recipe.loss != "cross_entropy":
        return _train_adversary(settings, "eval", random_start=True)
    return _train_adversary(settings, "train_frozen")


def _train_adversary(
    settings: RobustSettings, batch_norm: str, *, random_start: bool = False
) -> PGD:
    return PGD(
        settings.train_epsilon,
        settings.train_step_size,
        settings.train_steps,
        random_start or settings.train_random_start,
        norm=settings.norm,
        batch_norm=batch_norm,
    )
