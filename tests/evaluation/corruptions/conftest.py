"""Images to corrupt, and pictures that stand in for the published ones of frost."""

import numpy as np
import pytest
from PIL import Image

from solo_adv.evaluation.corruptions.pictures import FROST_PICTURES


@pytest.fixture
def pictures():
    """A function that makes images, uint8 (N, size, size, 3), with smooth and sharp parts.

    A part of the first is black, and the last is gray.
    """

    def make(size=32, count=6):
        draw = np.random.default_rng(size)
        coarse = draw.integers(0, 256, (count, 4, 4, 3)).repeat(size // 4, 1).repeat(size // 4, 2)
        slopes = np.linspace(0, 1, size)[:, None, None] * draw.uniform(0, 200, (count, 1, 1, 3))
        found = (0.6 * coarse + 0.4 * slopes + draw.normal(0, 8, coarse.shape)).clip(0, 255)
        found[0, : size // 4] = 0
        found[-1] = found[-1, ..., :1]
        return found.astype(np.uint8)

    return make


@pytest.fixture
def frost_folder(tmp_path):
    """A folder of pictures that are named as the published ones of frost."""
    folder = tmp_path / "frost"
    folder.mkdir()
    draw = np.random.default_rng(0)
    for name in FROST_PICTURES:
        pixels = draw.integers(0, 256, (260, 300, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(folder / name)
    return folder
