"""Where results lie: in a directory named after what was measured, so that it is found again."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from solo_adv.adversaries import Ball
from solo_adv.evaluation.settings import RobustSettings
from solo_adv.report.record import FILE, Report, plain_values
from solo_adv.support import environment
from solo_adv.support.errors import UserError
from solo_adv.support.fingerprints import fingerprint

DIGITS = 8
LONGEST = 180
"""Of a directory's name, in characters: file systems refuse more than 255 bytes."""


def result_fingerprint(
    config: Mapping[str, Any],
    pretrain_config: Mapping[str, Any],
    data: Mapping[str, Any],
    weights: Mapping[str, Any],
) -> str:
    """A short hash of all that the figures of an evaluation depend on.

    Args:
        config, pretrain_config, data, weights: as :class:`Report` has them; before an evaluation,
            ``weights["head"]`` is that of a head that is given.
    """
    settings = RobustSettings.from_config(config).decisive(head_given=weights["head_given"])
    measured = {
        "settings": settings,
        "pretrain_config": pretrain_config,
        "data": [data["fingerprint_train"], data["fingerprint_test"]],
        "encoder": weights["encoder"],
        "head": weights["head"] if weights["head_given"] else None,
    }
    return fingerprint(json.dumps(plain_values(measured), sort_keys=True))


def fingerprint_of(report: Report) -> str | None:
    """The :func:`result_fingerprint` of a report; None if it does not say which weights it is of.

    Raises:
        UserError: its settings are not those of this version.
    """
    if report.weights is None:
        return None
    return result_fingerprint(report.config, report.pretrain_config, report.data, report.weights)


def directory_name(
    checkpoint: Path,
    settings: RobustSettings,
    *,
    dataset: str,
    fraction: float,
    head_given: bool,
    measured: str,
) -> str:
    """Words for what evaluations commonly differ in, and a hash of all that they can differ in.

    Args:
        checkpoint: its file; of its name, what follows the version of the run is kept.
        fraction: of the labelled train split; -1 is all of it.
        measured: the :func:`result_fingerprint`.
    """
    given = settings.decisive(head_given=head_given)
    # 8 of 8/255, 0.5 of 0.5 (L2)
    radii = [re.split("[/ ]", Ball(settings.norm, e).text)[0] for e in settings.epsilons]
    words = [
        checkpoint.stem.partition(f"-{checkpoint.parent.name}-")[2] or checkpoint.stem,
        dataset,
        "" if fraction == -1 else f"fraction{fraction:g}",
        f"crops{settings.num_crops}" if settings.protocol == "crops" else settings.protocol,
        settings.space if settings.protocol == "crops" else "",
        "geometric" if "crop_augmentation" in given else "",
        settings.linear,
        settings.features,
        "given-head" if head_given else "",
        "finetuned" if "finetune" in given else "",
        settings.norm if "norm" in given else "",
        f"eps{'-'.join(radii)}" if "epsilons" in given else "",
        *(text(given[name]) for name, text in _WORDS.items() if name in given),
    ]
    slugs = [slug for slug in map(_slug, words) if slug]
    return f"{'-'.join(slugs)[:LONGEST]}-{measured[:DIGITS]}"


_WORDS = {
    "steps": lambda value: f"steps{value}",
    "restarts": lambda value: f"restarts{value}",
    "random_start": lambda value: "random-start",
    "autoattack": lambda value: "autoattack",
    "max_images": lambda value: f"images{value}",
    "precision": lambda value: value,
    "seed": lambda value: f"seed{value}",
}
"""Settings that are worth a word where they are not the default."""


def _slug(text: str) -> str:
    """Without signs that file systems, shells or the command line's grammar give a meaning."""
    return re.sub(r"[^A-Za-z0-9_.]+", "-", text.replace("=", "")).strip("-.")


def find_report(directory: Path, measured: str) -> Report | None:
    """The whole report of exactly this measurement in its directory; None if there is none.

    Args:
        measured: the :func:`result_fingerprint`.

    Raises:
        UserError: the report there is damaged, or of another measurement.
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
        reason = "it is of another measurement than its directory's name says"
    raise UserError(
        f"{file} is not the result that its place says: {reason}. Move it away, or give again=true "
        "to measure anew and replace it."
    )


def other_code(report: Report) -> str | None:
    """How the versions that a report was measured with differ from these; None if they do not."""
    there = {**report.versions, "commit": report.git_commit}
    here = {**environment.versions(), "commit": environment.git_commit()}
    differences = [
        f"{name} {there.get(name) or 'unknown'} (now {here.get(name) or 'unknown'})"
        for name in dict.fromkeys([*there, *here])
        if there.get(name) != here.get(name)
    ]
    return ", ".join(differences) or None
