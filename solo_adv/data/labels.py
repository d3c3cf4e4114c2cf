"""Few labels: the stratified part of the train images from which an evaluation may learn."""

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from solo_adv.support.checks import is_number
from solo_adv.support.errors import UserError

_SHARE = re.compile(r"(\d+(?:\.\d+)?)\s*%")
_FRACTION = re.compile(r"[01]?\.\d+")
_PER_CLASS = re.compile(r"(\d+)[_ ]per[_ ]class")


@dataclass(frozen=True)
class LabelledPart:
    """How many images of each class keep their label: a share of them, or a number.

    Attributes:
        share: the share, above 0 and at most 1; None if ``per_class`` says the number.
        per_class: the number, at least 1.
    """

    share: float | None = None
    per_class: int | None = None

    @classmethod
    def read(cls, value: object) -> "LabelledPart":
        """Read the setting ``data.labels``: 0.01, "1%" or "20_per_class".

        Raises:
            UserError: it is none of these, or out of range.
        """
        text = str(value).strip()
        part = None
        if found := _PER_CLASS.fullmatch(text):
            part = cls(per_class=int(found[1]))
        elif found := _SHARE.fullmatch(text):
            part = cls(share=float(found[1]) / 100)
        elif _FRACTION.fullmatch(text) or (isinstance(value, float) and is_number(value)):
            part = cls(share=float(text))
        if part is not None and (part.per_class or 0 < (part.share or 0) <= 1):
            return part
        raise UserError(
            f"data.labels is {value!r}; it must be a share of the labels above 0 and at most 1, "
            "such as 0.01 or 1%, or a number of images such as 20_per_class."
        )

    def __str__(self) -> str:
        return f"{self.per_class}_per_class" if self.share is None else f"{100 * self.share:.12g}%"

    def of(self, count: int) -> int:
        """How many of the ``count`` images of a class keep their label."""
        return round(count * self.share) if self.share is not None else self.per_class or 0


def drawn_rows(
    labels: torch.Tensor, classes: tuple[str, ...], part: LabelledPart, seed: int
) -> np.ndarray:
    """Draw images of every class by the seed alone, the same in every process and every run.

    With the same seed, a larger part contains all images of a smaller one.

    Args:
        labels: labels of the train images, long (N,).
        classes: names of the classes, in the order of the labels; empty if unknown.
        part: how many to draw of each class.
        seed: seed of the draw, 0 to 2**32 - 1.

    Returns:
        The numbers of the drawn images, sorted.

    Raises:
        UserError: an image has no label, or a class has no image or fewer than are asked for.
    """
    held = labels.numpy()
    if (held < 0).any():
        raise UserError(
            f"data.labels={part} draws labelled images, and some train images have no label: "
            "choose a labelled set."
        )
    drawn = []
    for number in range(max(len(classes), int(held.max()) + 1)):
        rows = np.flatnonzero(held == number)
        count, name = part.of(len(rows)), classes[number] if classes else number
        if count == 0:
            raise UserError(
                f"data.labels={part} leaves no image of class '{name}', which has {len(rows)} "
                "train images: every class needs one. Take a larger share, or 1_per_class."
            )
        if count > len(rows):
            raise UserError(
                f"data.labels={part} asks for {count} images of class '{name}', which has "
                f"{len(rows)} train images: take fewer."
            )
        # NumPy promises that RandomState draws the same numbers in all of its versions.
        drawn.append(rows[np.random.RandomState([seed, number]).permutation(len(rows))[:count]])
    return np.sort(np.concatenate(drawn))


def labels_on_record(asked: str | float | None, seed: int, labels: torch.Tensor) -> dict[str, Any]:
    """What a report says about the drawn labels; empty if all labels were used.

    Args:
        asked: the setting ``data.labels``.
        seed: the seed of the draw.
        labels: the labels that were drawn, long (N,).
    """
    if asked is None:
        return {}
    return {"labels": {"part": str(asked), "seed": seed, "per_class": labels.bincount().tolist()}}
