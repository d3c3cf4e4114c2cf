"""Judges any network, which need not be of this package, by the protocols of an evaluation."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from solo_adv.data.image_set import ImageSet
from solo_adv.evaluation.evaluating import device_of
from solo_adv.evaluation.robust import evaluate_robustness
from solo_adv.evaluation.settings import RobustSettings
from solo_adv.report.measurement import KNN
from solo_adv.report.record import Report
from solo_adv.report.writing import write_report
from solo_adv.support.errors import UserError


def evaluate_module(
    model: nn.Module,
    train_set: ImageSet,
    test_set: ImageSet,
    *,
    output: str,
    device: str,
    name: str,
    directory: Path | None,
    settings: Mapping[str, Any],
) -> Report:
    """Judge a network that computes logits, or features, on which a head is trained.

    Args:
        model: a differentiable network from pixels (N, 3, H, W) in [0, 1] to (N, D). It is not
            changed, but moved to the device.
        train_set: labelled images that train a head; not used for logits.
        test_set: labelled images to judge.
        output: ``logits``, ``features``, or ``auto``: logits if D is the number of classes.
        device: ``cpu``, ``cuda`` or ``auto``.
        name: the model's name in the report.
        directory: where the report is written; None writes none.
        settings: the fields of :class:`RobustSettings`.

    Raises:
        UserError: a setting is not accepted, or the network's output is neither.
    """
    where = device_of(device)
    known = {"features": "backbone", **settings}
    chosen = RobustSettings.from_config(known)
    if chosen.protocol != "central":
        raise UserError(
            "protocol=crops draws crops as a pretraining run did, and a network has none: "
            "use protocol=central."
        )
    width = _width(model, test_set, where)
    classes = max(train_set.num_classes, test_set.num_classes)
    if output == "auto":
        output = "logits" if width == classes else "features"
    if output == "logits" and width < classes:
        raise UserError(
            f"The network computes {width} numbers for an image, too few for {classes} classes: "
            "use output='features' with train and test images."
        )
    if output == "features" and train_set is test_set:
        raise UserError(
            f"The network computes {width} numbers for an image and there are {classes} classes, "
            "so they are features, and a head must be trained on other images: give "
            "data=((train images, labels), (test images, labels)) or a data set's name."
        )
    head = _identity(width) if output == "logits" else None
    outcome = evaluate_robustness(
        model,
        test_set if output == "logits" else train_set,
        test_set,
        chosen,
        method=name,
        checkpoint=name,
        pretrain_config={},
        device=where,
        directory=directory,
        head=head,
    )
    report = outcome.report
    if output == "logits":  # neighbours of logits say nothing about the model's predictions
        kept = [m for m in report.measurements if m.name != KNN]
        report = replace(report, measurements=kept)
    if directory is not None:
        write_report(report, directory, examples=outcome.examples, head=outcome.head)
    return report


@torch.no_grad()
def _width(model: nn.Module, images: ImageSet, device: torch.device) -> int:
    """How many numbers the network computes for an image."""
    modes = [(module, module.training) for module in model.modules()]
    pixels = images[0][0][None].to(device) / 255
    try:
        out: Any = model.to(device).eval()(pixels)
    except Exception as error:
        raise UserError(
            f"The network does not take images of the shape {tuple(pixels.shape)}: "
            f"{' '.join(str(error).split())}"
        ) from error
    finally:
        for module, training in modes:
            module.training = training
    if not isinstance(out, Tensor) or out.ndim != 2:
        got = f"of shape {tuple(out.shape)}" if isinstance(out, Tensor) else type(out).__name__
        raise UserError(
            f"The network must return one tensor (N, D), logits or features; got {got}. Wrap it: "
            "nn.Sequential(model, nn.Flatten()) for maps."
        )
    return out.shape[1]


def _identity(width: int) -> nn.Linear:
    head = nn.Linear(width, width)
    with torch.no_grad():
        head.weight.copy_(torch.eye(width))
        head.bias.zero_()
    return head
