"""Noise. Functions take images, uint8 (N, S, S, 3), and return pixels in [0, 255], unrounded."""

import numpy as np

from solo_adv.evaluation.corruptions.draws import Draws


def gaussian_noise(images: np.ndarray, draws: Draws, deviation: float) -> np.ndarray:
    """Add normal noise with that standard deviation; the range of pixels is 1."""
    return 255 * (images / 255 + draws.normal(0, deviation, images.shape[1:]))


def shot_noise(images: np.ndarray, draws: Draws, photons: float) -> np.ndarray:
    """Replace each value by a Poisson count; white has ``photons`` on average."""
    return 255 * (draws.poisson(images / 255 * photons) / photons)


def impulse_noise(images: np.ndarray, draws: Draws, amount: float) -> np.ndarray:
    """Set that share of all values to 0 or to 255, with equal odds, independently by channel."""
    hit = draws.uniform(0, 1, images.shape[1:]) <= amount
    white = draws.uniform(0, 1, images.shape[1:]) <= 0.5
    return np.where(hit, np.where(white, 255.0, 0.0), images)
