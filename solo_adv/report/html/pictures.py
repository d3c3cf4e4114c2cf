"""The pictures of a page's sheet of examples, as PNG inside the page."""

import base64
import io
from dataclasses import dataclass

import numpy as np
from PIL import Image
from torch import Tensor

from solo_adv.report.examples import Examples

MOST_BYTES = 3_000_000
"""Most bytes of all pictures of a page together."""


@dataclass(frozen=True)
class Shown:
    """An image before and after the attack, with its pictures as data URLs."""

    truth: str
    before: str
    after: str
    clean: str
    change: str
    attacked: str

    @property
    def outcome(self) -> str:
        """``withstood``, ``broken``, or ``wrong`` if it was wrong without attack already."""
        if self.before != self.truth:
            return "wrong"
        return "withstood" if self.after == self.truth else "broken"


@dataclass(frozen=True)
class Sheet:
    """The examples of a page."""

    radius: str
    magnification: float
    """The factor by which the pictures of changes magnify them; grey is no change."""
    shown: list[Shown]
    left_out: int
    """How many examples are left out because the page would become too large."""


def sheet(examples: Examples) -> Sheet:
    """Make the pictures of as many examples, from the first on, as fit into :data:`MOST_BYTES`."""
    change = examples.attacked - examples.clean
    magnification = examples.ball.magnification(change)
    shown: list[Shown] = []
    size = 0
    for number, (truth, before, after) in enumerate(
        zip(examples.truth, examples.before, examples.after, strict=True)
    ):
        pictures = [
            _url(picture)
            for picture in (
                examples.clean[number],
                0.5 + change[number] * magnification,
                examples.attacked[number],
            )
        ]
        size += sum(map(len, pictures))
        if shown and size > MOST_BYTES:
            break
        shown.append(Shown(truth, before, after, *pictures))
    left_out = len(examples.truth) - len(shown)
    return Sheet(examples.ball.text, magnification, shown, left_out)


def _url(picture: Tensor) -> str:
    """An image (3, H, W), pixels in [0, 1], as a data URL."""
    pixels = (picture.clamp(0, 1) * 255).round().permute(1, 2, 0).numpy().astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="png", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
