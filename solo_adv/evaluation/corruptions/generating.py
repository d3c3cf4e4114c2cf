"""Generates the corruptions of a batch of images."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from solo_adv.evaluation.corruptions import blur, digital, noise, weather
from solo_adv.evaluation.corruptions.draws import Draws
from solo_adv.evaluation.corruptions.pictures import frost_pictures
from solo_adv.evaluation.corruptions.severities import CORRUPTIONS, published_for

AT_ONCE = 2**23
"""Most values that are corrupted at once, so that large images do not fill the memory."""

_FUNCTIONS: dict[str, Callable[..., np.ndarray]] = {
    name: getattr(room, name)
    for name in CORRUPTIONS
    for room in (noise, blur, weather, digital)
    if hasattr(room, name)
}


def corrupted(
    images: np.ndarray,
    corruption: str,
    severity: int,
    *,
    places: Sequence[int],
    seed: int,
    frost: Path | None = None,
) -> np.ndarray:
    """Corrupt images as the published code does, with random numbers of our own.

    Args:
        images: square images, uint8 (N, S, S, 3).
        corruption: one of ``CORRUPTIONS``.
        severity: 1 to 5.
        places: a number for each image, for instance its place in the test set. The random numbers
            depend on it, on the corruption, on the severity and on the seed alone.
        seed: seed of everything that is drawn.
        frost: the folder with the pictures of frost, which ``frost`` needs.

    Returns:
        The corrupted images, uint8 (N, S, S, 3). Fractions are cut off, as in the published ones.

    Source:
        Hendrycks and Dietterich 2019, https://arxiv.org/abs/1903.12261
    """
    number = CORRUPTIONS.index(corruption)
    step = max(1, AT_ONCE // images[0].size)
    found = []
    for first in range(0, len(images), step):
        part = slice(first, first + step)
        draws = Draws.of(places[part], seed, number, severity)
        found.append(apply(images[part], corruption, severity, draws, frost=frost))
    return np.concatenate(found)


def apply(
    images: np.ndarray, corruption: str, severity: int, draws: Draws, *, frost: Path | None = None
) -> np.ndarray:
    """Corrupt images with random numbers from ``draws``; see :func:`corrupted`."""
    published = published_for(images.shape[1])
    level = published.levels[corruption][severity - 1]
    function = _FUNCTIONS[corruption]
    if corruption == "frost":
        assert frost is not None
        function = partial(function, pictures=frost_pictures(frost))
        # Between the published sizes, the pictures keep their proportion to the images.
        level = (*level[:2], level[2] * images.shape[1] / published.size)
    return function(images, draws, *level).clip(0, 255).astype(np.uint8)
