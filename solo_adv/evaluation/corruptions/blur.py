"""Blur. Functions take images, uint8 (N, S, S, 3), and return pixels in [0, 255], unrounded."""

import math

import numpy as np
from scipy import ndimage, signal

from solo_adv.evaluation.corruptions.draws import Draws

DIRECT = 11
"""Widest kernel with which images are convolved directly, and not by Fourier transforms."""


def defocus_blur(images: np.ndarray, draws: Draws, radius: float, deviation: float) -> np.ndarray:
    """Convolve with a disk whose edge is softened by a Gaussian of that standard deviation.

    Images continue beyond their border as in a mirror, whose axis is the outermost pixel.
    """
    kernel = disk(radius, deviation)
    pixels, width = images / 255, len(kernel)
    if width <= DIRECT:
        return 255 * ndimage.correlate(pixels, kernel[None, :, :, None], mode="mirror")
    margin = (0, 0), (width // 2,) * 2, (width // 2,) * 2, (0, 0)
    padded = np.pad(pixels, margin, mode="reflect")
    blurred: np.ndarray = signal.oaconvolve(
        padded, kernel[None, :, :, None], mode="valid", axes=(1, 2)
    )
    return 255 * blurred


def disk(radius: float, deviation: float) -> np.ndarray:
    """A disk with a softened edge, without its empty margin; float64 (K, K).

    The published code softens disks up to a radius of 8 over 3 pixels and larger ones over 5, on a
    grid of 17 pixels or as wide as a larger disk. At its border the grid is mirrored. Disks of
    radius 8 and 10 touch it, so that their sum is above 1 by up to 1 %, and images get brighter.
    """
    half, reach = (8, 1) if radius <= 8 else (math.ceil(radius), 2)
    grid = np.arange(-half, half + 1)
    filled = (grid[:, None] ** 2 + grid**2 <= radius**2).astype(np.float64)
    filled /= filled.sum()
    taps = np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2 * deviation**2))
    taps /= taps.sum()
    for axis in (0, 1):
        filled = ndimage.correlate1d(filled, taps, axis, mode="mirror")
    used = min(half, math.floor(radius) + reach)
    kept = slice(half - used, half + used + 1)
    # The published code holds kernels in float32. That decides where means are whole numbers.
    return filled[kept, kept].astype(np.float32).astype(np.float64)


def glass_blur(
    images: np.ndarray, draws: Draws, deviation: float, reach: int, rounds: int
) -> np.ndarray:
    """Blur, replace every pixel by one nearby, ``rounds`` times, and blur again.

    Pixels are visited from the last to the first. Each takes the value of a pixel that lies up to
    ``reach`` before or ``reach - 1`` behind it in either direction. (The paper says that pixels are
    exchanged. The published code copies them, and so the published images show copies.)
    """
    count, size = len(images), images.shape[1]
    blurred = (255 * _smoothed(images / 255, deviation)).astype(np.uint8)
    visited = range(size - reach, reach, -1)
    source = np.arange(size * size).reshape(size, size, 1).repeat(count, axis=2)
    each = np.arange(count)
    steps = draws.integers(-reach, reach, (rounds, len(visited), len(visited), 2))
    across, down = np.ascontiguousarray(steps.transpose(4, 1, 2, 3, 0))  # each with N last
    for turn in range(rounds):
        for i, row in enumerate(visited):
            for j, column in enumerate(visited):
                from_row, from_column = row + down[turn, i, j], column + across[turn, i, j]
                source[row, column] = source[from_row, from_column, each]
    moved = blurred.reshape(count, size * size, 3)[each, source.reshape(-1, count)]
    moved = moved.swapaxes(0, 1).reshape(images.shape)
    return 255 * _smoothed(moved / 255, deviation)


def motion_blur(images: np.ndarray, draws: Draws, radius: float, deviation: float) -> np.ndarray:
    """Blur along a direction, drawn for each image within 45 degrees of the horizontal."""
    return motion_blurred(images, radius, deviation, draws.uniform(-45, 45))


def motion_blurred(
    images: np.ndarray, radius: float, deviation: float, angles: np.ndarray
) -> np.ndarray:
    """ImageMagick's motion blur: a one-sided Gaussian along a line, rounded to whole pixels.

    Beyond its border an image continues with the pixels of the border.

    Args:
        images: pixels in [0, 255], (N, S, S, ...).
        radius: half the number of pixels on the line.
        deviation: standard deviation of the Gaussian, in pixels.
        angles: direction of each line in degrees, clockwise from the right, (N,).

    Returns:
        Whole numbers in [0, 255], float64 (N, S, S, ...).
    """
    taps = np.arange(2 * math.ceil(radius) + 1)
    kernel = np.exp(-(taps**2) / (2 * deviation**2))
    kernel /= kernel.sum()
    size = images.shape[1]
    radians = np.deg2rad(angles)[:, None]
    right = np.ceil(taps * np.cos(radians) - 0.5).astype(int)
    down = np.ceil(taps * np.sin(radians) - 0.5).astype(int)
    each, pixels = np.arange(len(images))[:, None, None], np.arange(size)
    blurred = np.zeros(images.shape)
    for tap in taps:
        rows = np.clip(pixels + down[:, tap, None], 0, size - 1)
        columns = np.clip(pixels + right[:, tap, None], 0, size - 1)
        blurred += kernel[tap] * images[each, rows[:, :, None], columns[:, None, :]]
    # ImageMagick rounds to 16 bits and then cuts off the lower half.
    return np.floor(np.rint(257 * blurred) / 257)


def zoom_blur(images: np.ndarray, draws: Draws, end: float, step: float) -> np.ndarray:
    """The mean of the image and of its centre enlarged by 1, 1 + step, ... up to below ``end``."""
    pixels = (images / 255).astype(np.float32)
    factors = np.arange(1, end, step)
    total = pixels.copy()
    for factor in factors:
        total += zoomed(pixels, factor)
    return 255 * (total / (len(factors) + 1))


def zoomed(images: np.ndarray, factor: float) -> np.ndarray:
    """Enlarge the centre of images (N, S, S, ...) linearly, and cut the result to their size."""
    size = images.shape[1]
    part = math.ceil(size / factor)
    first = (size - part) // 2
    # Linear interpolation of one axis is a matrix, and that of two axes is this matrix twice.
    matrix = ndimage.zoom(np.eye(part), (factor, 1), order=1)
    cut = (len(matrix) - size) // 2
    matrix = matrix[cut : cut + size].astype(images.dtype)
    centre = images[:, first : first + part, first : first + part]
    return np.einsum("ip,npq...,jq->nij...", matrix, centre, matrix, optimize=True)


def _smoothed(images: np.ndarray, deviation: float) -> np.ndarray:
    return ndimage.gaussian_filter(images, (0, deviation, deviation, 0), mode="nearest")
