"""Points to compare with: robust and clean accuracy as the paper and the field print them."""

from collections.abc import Iterable
from dataclasses import dataclass

from solo_adv.adversaries import Ball
from solo_adv.paper import MODELS, Figure, figures
from solo_adv.paper.field import Placed, leaderboard
from solo_adv.report.entries import Entry
from solo_adv.report.measurement import AUTOATTACK

EPSILON = 8 / 255
RADIUS = Ball("linf", EPSILON).text
PAPER = "https://arxiv.org/abs/2501.03507"
STANDARD, ROBUST, FINETUNED = "standard head", "robust head", "fine-tuned"
_PROTOCOLS = {"slf": STANDARD, "alf": ROBUST, "aff": FINETUNED}


@dataclass(frozen=True, kw_only=True)
class Published:
    """A printed point. Accuracies are in percent."""

    model: str
    judged: str
    """``STANDARD``, ``ROBUST`` or ``FINETUNED``."""
    clean: float
    robust: float
    source: str
    """Who prints it."""
    link: str
    """Where it is printed."""
    method: str
    """Where the method is described."""
    note: str = ""
    """Why it is hard to compare, or not to be trusted."""


def judged(entry: Entry) -> str:
    """What a report judged: ``STANDARD``, ``ROBUST`` or ``FINETUNED``."""
    if entry.report.config["finetune"] != "none":
        return FINETUNED
    return ROBUST if entry.head == "robust" else STANDARD


def published(dataset: str, attack: str, kinds: Iterable[str]) -> list[Published]:
    """The printed points of a data set under an attack at 8/255.

    Args:
        dataset: name of the data set.
        attack: ``PGD-20`` or ``AutoAttack``.
        kinds: which to find, of ``STANDARD``, ``ROBUST`` and ``FINETUNED``.
    """
    kinds = list(kinds)
    found = [
        _of_paper(row, clean, robust, kind)
        for kind, heads in ((ROBUST, ("robust", None)), (STANDARD, ("standard",)))
        if kind in kinds
        for row, (clean, robust) in paper_points(dataset, attack, heads=heads).items()
    ]
    if attack == AUTOATTACK:
        found += [
            _of_field(placed)
            for placed in leaderboard()
            if placed.dataset == dataset and _PROTOCOLS[placed.protocol] in kinds
        ]
    return found


def paper_points(
    dataset: str, attack: str, *, heads: Iterable[str | None] = ("robust", None)
) -> dict[str, tuple[Figure, Figure]]:
    """Clean and robust accuracy of the paper's models on whole images.

    Args:
        dataset: name of the data set.
        attack: the attack, at 8/255.
        heads: the heads that count; None is a head that the paper does not state.

    Returns:
        Both figures for each row of the paper.
    """
    heads = tuple(heads)
    points: dict[str, tuple[Figure, Figure]] = {}
    for figure in figures(dataset=dataset, protocol="central", quantity=attack, epsilon=EPSILON):
        if figure.head not in heads or figure.row in points:
            continue
        clean = figures(
            table=figure.table,
            row=figure.row,
            dataset=dataset,
            head=figure.head,
            num_crops=None,
            quantity="clean",
        )
        points[figure.row] = (clean[0], figure)
    return points


def _of_paper(row: str, clean: Figure, robust: Figure, kind: str) -> Published:
    notes = [f"{figure.mark.reason}" for figure in (clean, robust) if figure.mark is not None]
    if robust.head is None:
        notes.append("the paper does not state the head")
    return Published(
        model=MODELS[row].label,
        judged=kind,
        clean=clean.value,
        robust=robust.value,
        source=f"the paper, {robust.table.replace('table', 'Table ')}",
        link=PAPER,
        method=PAPER,
        note="; ".join(notes),
    )


def _of_field(placed: Placed) -> Published:
    return Published(
        model=f"{placed.method} ({placed.venue})",
        judged=_PROTOCOLS[placed.protocol],
        clean=placed.clean,
        robust=placed.autoattack,
        source=f"RobustSSL leaderboard, {placed.protocol.upper()}",
        link=placed.source,
        method=placed.link,
        note=placed.note,
    )
