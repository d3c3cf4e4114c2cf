"""Names the directory of a result after what was measured, and finds the result there again."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from solo_adv.adversaries import Ball
from solo_adv.data import DataConfig
from solo_adv.evaluation.settings import RobustSettings
from solo_adv.report.record import FILE, Report, plain_values
from solo_adv.support import environment
from solo_adv.support.errors import UserError
from solo_adv.support.fingerprints import fingerprint

DIGITS = 8
LONGEST = 180
"""Most characters of a directory's name before the hash. File systems refuse names of more than 255
bytes."""


def result_fingerprint(
    config: Mapping[str, Any],
    pretrain_config: Mapping[str, Any],
    data: Mapping[str, Any],
    weights: Mapping[str, Any],
) -> str:
    """A short hash of everything that the figures of an evaluation depend on.

    Args:
        config: the evaluation's settings, as in :class:`Report`.
        pretrain_config: the pretraining config, as in :class:`Report`.
        data: the data on record, as in :class:`Report`.
        weights: the weights on record, as in :class:`Report`. The head counts only if it was given,
            because a trained head follows from the rest.
    """
    settings = RobustSettings.from_config(config).decisive(head_given=weights["head_given"])
    measured = {
        "settings": settings,
        "pretrain_config": {k: v for k, v in pretrain_config.items() if k != "recognised"},
        "data": [data["fingerprint_train"], data["fingerprint_test"]],
        "encoder": weights["encoder"],
        "head": weights["head"] if weights["head_given"] else None,
    }
    return fingerprint(json.dumps(plain_values(measured), sort_keys=True))


def fingerprint_of(report: Report) -> str | None:
    """The :func:`result_fingerprint` of a report; None if the report names no weights.

    Raises:
        UserError: this version does not accept the report's settings.
    """
    if report.weights is None:
        return None
    return result_fingerprint(report.config, report.pretrain_config, report.data, report.weights)


def directory_name(
    checkpoint: Path,
    settings: RobustSettings,
    *,
    data: DataConfig,
    dataset: str,
    head_given: bool,
    measured: str,
) -> str:
    """Name a result's directory by the settings in which evaluations commonly differ, and a hash.

    The hash covers everything in which evaluations can differ.

    Args:
        checkpoint: the checkpoint's file. The part of its name after the run's version is used.
        settings: the settings of the evaluation.
        data: which images were used.
        dataset: name of the data set.
        head_given: whether the head is given instead of trained.
        measured: the :func:`result_fingerprint`.
    """
    given, loss = settings.decisive(head_given=head_given), settings.finetune_recipe.loss
    # This makes 8 from 8/255 and 0.5 from 0.5 (L2).
    radii = [re.split("[/ ]", Ball(settings.norm, e).text)[0] for e in settings.epsilons]
    words = [
        checkpoint.stem.partition(f"-{checkpoint.parent.name}-")[2] or checkpoint.stem,
        dataset,
        "" if data.fraction == -1 else f"fraction{data.fraction:g}",
        "" if data.labels is None else f"labels{data.labels}".replace("%", "percent"),
        f"labels-seed{data.labels_seed}" if data.labels_seed else "",
        f"crops{settings.num_crops}" if settings.protocol == "crops" else settings.protocol,
        settings.space if settings.protocol == "crops" else "",
        "geometric" if "crop_augmentation" in given else "",
        settings.linear,
        settings.features,
        "given-head" if head_given else "",
        "finetuned" if "finetune" in given else "",
        loss if "finetune" in given and loss != "cross_entropy" else "",
        settings.norm if "norm" in given else "",
        f"eps{'-'.join(radii)}" if "epsilons" in given else "",
        *(f"and-{norm}" for norm in settings.other_norms),
        *(text(given[name]) for name, text in _WORDS.items() if name in given),
    ]
    slugs = [slug for slug in map(_slug, words) if slug]
    return f"{'-'.join(slugs)[:LONGEST]}-{measured[:DIGITS]}"


_WORDS = {
    "steps": lambda value: f"steps{value}",
    "restarts": lambda value: f"restarts{value}",
    "attack_loss": lambda value: f"loss-{value}",
    "random_start": lambda value: "random-start",
    "autoattack": lambda value: "autoattack",
    "corruptions": lambda value: f"corruptions-{Path(value).name}",
    "max_images": lambda value: f"images{value}",
    "precision": lambda value: value,
    "seed": lambda value: f"seed{value}",
}
"""Settings that are named in the directory if they differ from the default."""


def _slug(text: str) -> str:
    """Remove characters that have a meaning for file systems, shells or Hydra's command line."""
    return re.sub(r"[^A-Za-z0-9_.]+", "-", text.replace("=", "")).strip("-.")


def find_report(directory: Path, measured: str) -> Report | None:
    """Read the report of exactly this measurement; None if there is none.

    Args:
        directory: the directory of the result.
        measured: the :func:`result_fingerprint`.

    Raises:
        UserError: the report there is damaged, or belongs to another measurement.
    """
    file = directory / FILE
    if not file.exists():
        return None
    try:
        report = Report.read(file)
        same = fingerprint_of(report) == measured
    except (UserError, KeyError, TypeError) as error:
        reason = str(error).rstrip(".")
    else:
        if same:
            return report
        reason = "it belongs to another measurement than the directory's name says"
    raise UserError(
        f"{file} is not the result that belongs there: {reason}. Move it away, or give again=true "
        "to measure again and replace it."
    )


def other_code(report: Report) -> str | None:
    """The versions of a report that differ from the installed ones, in words; None if none do."""
    there = {**report.versions, "commit": report.git_commit}
    here = {**environment.versions(), "commit": environment.git_commit()}
    differences = [
        f"{name} {there.get(name) or 'unknown'} (now {here.get(name) or 'unknown'})"
        for name in dict.fromkeys([*there, *here])
        if there.get(name) != here.get(name)
    ]
    return ", ".join(differences) or None
