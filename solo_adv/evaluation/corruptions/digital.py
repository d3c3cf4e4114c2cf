"""Brightness, contrast, elastic transform, pixelation and JPEG.

Functions take images, uint8 (N, S, S, 3), and return pixels in [0, 255], unrounded.
"""

from collections.abc import Callable
from io import BytesIO

import numpy as np
from PIL import Image
from scipy import ndimage

from solo_adv.evaluation.corruptions.draws import Draws

GRID = 32
"""OpenCV rounds the places from which it takes pixels to this fraction of a pixel."""


def brightness(images: np.ndarray, draws: Draws, amount: float) -> np.ndarray:
    """Add ``amount`` to the value of HSV, at most up to 1; hue and saturation stay the same."""
    pixels = images / 255
    value = pixels.max(axis=3, keepdims=True)
    brighter = (value + amount).clip(0, 1)
    # With hue and saturation, the ratio of the channels stays the same. Black becomes gray.
    return 255 * np.where(value > 0, pixels / np.where(value > 0, value, 1), 1) * brighter


def contrast(images: np.ndarray, draws: Draws, factor: float) -> np.ndarray:
    """Bring every channel nearer to its mean over the image."""
    pixels = images / 255
    means = pixels.mean(axis=(1, 2), keepdims=True)
    return 255 * ((pixels - means) * factor + means)


def elastic_transform(
    images: np.ndarray, draws: Draws, strength: float, smoothness: float, shift: float
) -> np.ndarray:
    """Apply a random affine map, and then displace every pixel.

    Args:
        images: the images.
        draws: random numbers.
        strength: the displacements are noise in [-1, 1], smoothed, times this.
        smoothness: standard deviation of the smoothing, in pixels.
        shift: how far each of three points moves at most under the affine map, in pixels.
    """
    pixels = images.astype(np.float32) / 255
    size = images.shape[1]
    moves = draws.uniform(-shift, shift, (3, 2)).astype(np.float32)
    places = np.stack([_affine_places(size, move) for move in moves], axis=1)
    pixels = _taken(pixels, places, "mirror")
    # The published code draws what displaces columns first.
    across = _smooth(draws.uniform(-1, 1, (size, size)), smoothness) * strength
    down = _smooth(draws.uniform(-1, 1, (size, size)), smoothness) * strength
    rows, columns = np.mgrid[:size, :size]
    displaced = np.stack([rows + down.astype(np.float32), columns + across.astype(np.float32)])
    return 255 * _taken(pixels, displaced, "reflect")


def _affine_places(size: int, move: np.ndarray) -> np.ndarray:
    """Where the pixels of the result come from if three points around the centre move.

    Args:
        size: side of the image.
        move: how far the points move, as (x, y), float32 (3, 2).

    Returns:
        Row and column of each pixel's source, (2, size, size).
    """
    centre, reach = size // 2, size // 3
    points = np.array(
        [
            [centre + reach, centre + reach],
            [centre + reach, centre - reach],
            [centre - reach, centre - reach],
        ],
        np.float32,
    )
    moved = (points + move).astype(np.float64)
    # Solve for the map from the moved points back to the points: (x, y) = matrix @ (x', y', 1).
    matrix = np.linalg.solve(np.column_stack([moved, np.ones(3)]), points.astype(np.float64)).T
    pixels = np.arange(size)
    fine = 32 * GRID
    from_column = np.rint(matrix[:, 0, None, None] * pixels * fine)
    from_row = np.rint((matrix[:, 1, None] * pixels + matrix[:, 2, None]) * fine)[..., None]
    x, y = np.floor((from_column + from_row + fine / GRID / 2) / (fine / GRID)) / GRID
    return np.stack([y, x])


def _taken(images: np.ndarray, places: np.ndarray, border: str) -> np.ndarray:
    """Interpolate images (N, S, S, 3) linearly at rows and columns (2, N, S, S)."""
    count = np.arange(len(images)).reshape(-1, 1, 1)
    coordinates = np.stack([np.broadcast_to(count, places.shape[1:]), *places])
    channels = [
        ndimage.map_coordinates(images[..., channel], coordinates, order=1, mode=border)
        for channel in range(images.shape[-1])
    ]
    return np.stack(channels, axis=-1)


def _smooth(noise: np.ndarray, deviation: float) -> np.ndarray:
    return ndimage.gaussian_filter(noise, (0, deviation, deviation), mode="reflect", truncate=3)


def pixelate(images: np.ndarray, draws: Draws, factor: float) -> np.ndarray:
    """Shrink by averaging boxes of pixels, and enlarge again."""
    size = images.shape[1]
    small = int(size * factor)

    def shrunk(image: Image.Image) -> Image.Image:
        reduced = image.resize((small, small), Image.Resampling.BOX)
        return reduced.resize((size, size), Image.Resampling.BOX)

    return _each(images, shrunk)


def jpeg_compression(images: np.ndarray, draws: Draws, quality: int) -> np.ndarray:
    """Compress as JPEG with that quality, by Pillow."""

    def compressed(image: Image.Image) -> Image.Image:
        buffer = BytesIO()
        image.save(buffer, "JPEG", quality=quality)
        return Image.open(buffer)

    return _each(images, compressed)


def _each(images: np.ndarray, change: Callable[[Image.Image], Image.Image]) -> np.ndarray:
    return np.stack([np.asarray(change(Image.fromarray(image))) for image in images])
