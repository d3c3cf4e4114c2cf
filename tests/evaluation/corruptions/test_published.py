"""The corruptions are those of the published code, given the same random numbers."""

import numpy as np
import pytest

from solo_adv.evaluation.corruptions.draws import Draws
from solo_adv.evaluation.corruptions.generating import apply
from solo_adv.evaluation.corruptions.severities import CORRUPTIONS, SEVERITIES
from tests.evaluation.corruptions.published import CHECKOUT, Published

IMAGES = {32: 20, 64: 4, 224: 1}


def pictures(size, count):
    """Images with smooth and sharp parts; the last one is gray, and the first has a black part."""
    generator = np.random.default_rng(size)
    coarse = generator.integers(0, 256, (count, 4, 4, 3)).repeat(size // 4, 1).repeat(size // 4, 2)
    slopes = np.linspace(0, 1, size)[:, None, None] * generator.uniform(0, 200, (count, 1, 1, 3))
    found = (0.6 * coarse + 0.4 * slopes + generator.normal(0, 8, coarse.shape)).clip(0, 255)
    found[0, : size // 4] = 0
    found[-1] = found[-1, ..., :1]
    return found.astype(np.uint8)


@pytest.mark.slow
@pytest.mark.parametrize("size", IMAGES)
@pytest.mark.parametrize("corruption", CORRUPTIONS)
def test_same_random_numbers_same_pixels(corruption, size, monkeypatch):
    published = Published(size, monkeypatch)
    images = pictures(size, IMAGES[size])
    worst = []
    for severity in SEVERITIES:
        seeds = [(size, severity, place) for place in range(len(images))]
        draws = Draws([np.random.default_rng(seed) for seed in seeds])
        ours = apply(images, corruption, severity, draws, frost=published.folder)
        theirs = np.stack(
            [
                published.corrupt(image, corruption, severity, np.random.default_rng(seed))
                for image, seed in zip(images, seeds, strict=True)
            ]
        )
        apart = np.abs(ours.astype(int) - theirs)
        worst.append((apart.max(), (apart > 0).mean()))
    print(corruption, size, [f"{most} ({share:.2%})" for most, share in worst])
    assert max(most for most, _ in worst) <= 1, (CHECKOUT, worst)
