"""Weather. Functions take images, uint8 (N, S, S, 3), and return pixels in [0, 255], unrounded."""

from collections.abc import Sequence

import numpy as np

from solo_adv.evaluation.corruptions.blur import motion_blurred, zoomed
from solo_adv.evaluation.corruptions.draws import Draws
from solo_adv.support.errors import UserError


def snow(
    images: np.ndarray,
    draws: Draws,
    mean: float,
    deviation: float,
    zoom: float,
    threshold: float,
    radius: float,
    blur: float,
    share: float,
) -> np.ndarray:
    """Bleach the image and add flakes that fall, once as drawn and once turned by 180 degrees.

    Flakes are normal noise with ``mean`` and ``deviation``, enlarged by ``zoom``, without what lies
    below ``threshold``, and blurred downwards with ``radius`` and ``blur``. Bleaching leaves
    ``share`` of each pixel.
    """
    pixels = images.astype(np.float32) / 255
    size = images.shape[1]
    flakes = zoomed(draws.normal(mean, deviation, (size, size)), zoom)
    flakes[flakes < threshold] = 0
    flakes = np.floor(255 * flakes.clip(0, 1))
    fallen = motion_blurred(flakes, radius, blur, draws.uniform(-135, -45))[..., None] / 255
    gray = (pixels @ np.array([0.299, 0.587, 0.114], np.float32))[..., None]
    bleached = share * pixels + (1 - share) * np.maximum(pixels, gray * 1.5 + 0.5)
    return 255 * (bleached + fallen + fallen[:, ::-1, ::-1])


def frost(
    images: np.ndarray,
    draws: Draws,
    image_share: float,
    frost_share: float,
    scale: float,
    *,
    pictures: Sequence[np.ndarray],
) -> np.ndarray:
    """Add a part of a picture of frost, drawn for each image.

    Args:
        images: the images.
        draws: random numbers.
        image_share: factor of the image.
        frost_share: factor of the picture.
        scale: factor by which the pictures are made smaller before.
        pictures: the pictures, uint8 (H, W, 3).

    Raises:
        UserError: a picture is not larger than the images.
    """
    size = images.shape[1]
    scaled = [_rescaled(picture, scale) for picture in pictures]
    smallest = min(min(picture.shape[:2]) for picture in scaled)
    if smallest <= size:
        raise UserError(
            f"A picture of frost has {smallest} pixels after scaling, no more than the images "
            f"({size}): give the published pictures, frost_pictures=DIR."
        )
    parts = np.empty(images.shape)
    for number, generator in enumerate(draws.generators):
        picture = scaled[generator.integers(len(scaled))]
        top = generator.integers(picture.shape[0] - size)
        left = generator.integers(picture.shape[1] - size)
        parts[number] = picture[top : top + size, left : left + size]
    return image_share * images + frost_share * parts


def fog(images: np.ndarray, draws: Draws, thickness: float, decay: float) -> np.ndarray:
    """Add a cloud of the diamond-square algorithm, and restore the brightness of the image."""
    pixels = images / 255
    size = images.shape[1]
    brightest = pixels.max(axis=(1, 2, 3), keepdims=True)
    cloud = clouds(draws, 1 << (size - 1).bit_length(), decay)[:, :size, :size, None]
    return 255 * (pixels + thickness * cloud) * brightest / (brightest + thickness)


def clouds(draws: Draws, side: int, decay: float) -> np.ndarray:
    """Draw a fractal height map in [0, 1] for each image by the diamond-square algorithm.

    The map wraps around at its borders. The random part of a height begins with 100 squared (the
    published code applies its factor twice) and is divided by ``decay`` and, through that, by its
    square after every halving of the distances.

    Args:
        draws: random numbers for N maps.
        side: side of the maps, a power of two.
        decay: how fast the fine detail becomes flat.

    Returns:
        Float64 (N, side, side).
    """
    heights = np.zeros((len(draws.generators), side, side))
    amplitude, step = 100.0, side

    def around(four: np.ndarray) -> np.ndarray:
        noise = draws.uniform(-amplitude, amplitude, four.shape[1:])
        return four / 4 + amplitude * noise

    while step >= 2:
        half = step // 2
        corners = heights[:, ::step, ::step]
        pairs = corners + np.roll(corners, -1, axis=1)
        heights[:, half::step, half::step] = around(pairs + np.roll(pairs, -1, axis=2))
        centres = heights[:, half::step, half::step]
        across = corners + np.roll(corners, -1, axis=2)
        along = centres + np.roll(centres, 1, axis=1)
        heights[:, ::step, half::step] = around(along + across)
        across = centres + np.roll(centres, 1, axis=2)
        along = corners + np.roll(corners, -1, axis=1)
        heights[:, half::step, ::step] = around(across + along)
        step, amplitude = half, amplitude / decay
    heights -= heights.min(axis=(1, 2), keepdims=True)
    found: np.ndarray = heights / heights.max(axis=(1, 2), keepdims=True)
    return found


def _rescaled(picture: np.ndarray, scale: float) -> np.ndarray:
    """Shrink a picture linearly, from the two nearest pixels of each axis and without smoothing."""
    if scale == 1:
        return picture
    found = picture.astype(np.float64)
    for axis in (0, 1):
        length = found.shape[axis]
        places = (np.arange(round(length * scale)) + 0.5) / scale - 0.5
        places = places.clip(0, length - 1)
        low = np.floor(places).astype(int)
        share = np.expand_dims(places - low, [a for a in range(3) if a != axis])
        high = np.minimum(low + 1, length - 1)
        found = (1 - share) * found.take(low, axis) + share * found.take(high, axis)
    return np.floor(found + 0.5)
