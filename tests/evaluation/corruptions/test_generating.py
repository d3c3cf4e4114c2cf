"""Generated corruptions against formulas of their own, with the same random numbers."""

import colorsys
import math
from io import BytesIO

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from solo_adv.evaluation.corruptions import blur, weather
from solo_adv.evaluation.corruptions.draws import Draws
from solo_adv.evaluation.corruptions.generating import corrupted
from solo_adv.evaluation.corruptions.pictures import FROST_PICTURES
from solo_adv.evaluation.corruptions.severities import (
    CORRUPTIONS,
    PUBLISHED,
    SEVERITIES,
    published_for,
)
from solo_adv.support.errors import UserError

SEED = 5


@pytest.fixture
def corrupt(pictures, frost_folder):
    def run(name, severity=3, images=None, places=None, seed=SEED):
        images = pictures() if images is None else images
        places = range(len(images)) if places is None else places
        return corrupted(images, name, severity, places=places, seed=seed, frost=frost_folder)

    return run


def generators(name, severity, count):
    """The generators whose numbers :func:`corrupted` uses."""
    number = CORRUPTIONS.index(name)
    return [np.random.default_rng([SEED, number, severity, place]) for place in range(count)]


def saved(pixels):
    """Pixels in [0, 1] as the published code saves them."""
    return (np.clip(pixels, 0, 1) * 255).astype(np.uint8)


def assert_close(found, expected):
    """Pixels may differ by one where the last bit decides which way a fraction is cut off."""
    apart = np.abs(found.astype(int) - expected.astype(int))
    assert apart.max() <= 1
    assert (apart > 0).mean() < 0.01


def test_gaussian_noise(corrupt, pictures):
    for severity, deviation in zip(SEVERITIES, (0.04, 0.06, 0.08, 0.09, 0.10), strict=True):
        noise = [g.standard_normal((32, 32, 3)) for g in generators("gaussian_noise", severity, 6)]
        expected = saved(pictures() / 255 + deviation * np.stack(noise))
        assert_close(corrupt("gaussian_noise", severity), expected)


def test_shot_noise(corrupt, pictures):
    expected = [
        saved(g.poisson(image / 255 * 100) / 100)
        for g, image in zip(generators("shot_noise", 3, 6), pictures(), strict=True)
    ]
    assert_close(corrupt("shot_noise"), np.stack(expected))


def test_impulse_noise_hits_the_published_share_of_values():
    images = np.full((40, 32, 32, 3), 100, np.uint8)
    for severity, share in zip(SEVERITIES, (0.01, 0.02, 0.03, 0.05, 0.07), strict=True):
        found = corrupted(images, "impulse_noise", severity, places=range(40), seed=1)
        assert set(np.unique(found)) == {0, 100, 255}
        for value in (0, 255):
            error = math.sqrt(share / 2 / found.size)
            assert (found == value).mean() == pytest.approx(share / 2, abs=4 * error)


def test_brightness_is_the_value_of_hsv(corrupt, pictures):
    def brighter(pixel):
        hue, saturation, value = colorsys.rgb_to_hsv(*pixel)
        return colorsys.hsv_to_rgb(hue, saturation, min(1, value + 0.15))

    expected = np.apply_along_axis(brighter, -1, pictures() / 255)
    assert_close(corrupt("brightness"), saved(expected))


def test_contrast(corrupt, pictures):
    for severity, factor in zip(SEVERITIES, (0.75, 0.5, 0.4, 0.3, 0.15), strict=True):
        for found, image in zip(corrupt("contrast", severity), pictures(), strict=True):
            for channel in range(3):
                plane = image[..., channel] / 255
                assert_close(
                    found[..., channel], saved(factor * plane + (1 - factor) * plane.mean())
                )


def test_pixelate(corrupt, pictures):
    for found, image in zip(corrupt("pixelate", 4), pictures(), strict=True):
        small = Image.fromarray(image).resize((24, 24), Image.Resampling.BOX)
        assert np.array_equal(found, small.resize((32, 32), Image.Resampling.BOX))


def test_jpeg_compression(corrupt, pictures):
    for quality, severity in zip((80, 65, 58, 50, 40), SEVERITIES, strict=True):
        for found, image in zip(corrupt("jpeg_compression", severity), pictures(), strict=True):
            file = BytesIO()
            Image.fromarray(image).save(file, "JPEG", quality=quality)
            assert np.array_equal(found, Image.open(file))


def test_defocus_blur_is_a_convolution_with_the_disk(corrupt, pictures):
    # At severity 5 the disk has radius 1.5 (3 x 3 pixels), and its Gaussian is a single pixel.
    box = np.ones((3, 3, 1)) / 9
    expected = [ndimage.convolve(image / 255, box, mode="mirror") for image in pictures()]
    apart = np.abs(corrupt("defocus_blur", 5).astype(int) - saved(np.stack(expected)))
    assert apart.max() <= 1  # means of 9 whole numbers are often whole: the last bit decides


@pytest.mark.parametrize(("radius", "deviation"), [(0.3, 0.4), (3, 0.1), (8, 0.5), (10, 0.5)])
def test_the_disk_is_round(radius, deviation):
    disk = blur.disk(radius, deviation)
    # The widest disks touch the border of the published code's grid, which mirrors it.
    assert disk.sum() == pytest.approx(1, abs=1e-5 if radius < 8 else 0.02)
    assert np.allclose(disk, disk.T, atol=1e-8)
    assert np.allclose(disk, disk[::-1], atol=1e-8)
    half = len(disk) // 2
    rows, columns = np.nonzero(disk > 0.5 * disk.max())
    far = np.hypot(rows - half, columns - half).max()
    assert radius - 1.5 < far < radius + 1


def test_glass_blur_copies_neighbours_one_pixel_after_another(corrupt, pictures):
    generated = generators("glass_blur", 4, 6)  # sigma 0.25, reach 1, two rounds
    for found, image, generator in zip(
        corrupt("glass_blur", 4), pictures(), generated, strict=True
    ):
        blurred = ndimage.gaussian_filter(image / 255, (0.25, 0.25, 0), mode="nearest")
        pixels = saved(blurred)
        for _ in range(2):
            for row in range(31, 1, -1):
                for column in range(31, 1, -1):
                    across, down = generator.integers(-1, 1, 2)
                    pixels[row, column] = pixels[row + down, column + across]
        expected = ndimage.gaussian_filter(pixels / 255, (0.25, 0.25, 0), mode="nearest")
        assert_close(found, saved(expected))


def test_motion_blur_along_an_axis_is_a_one_sided_gaussian(pictures):
    image = pictures()[:1].astype(float)
    kernel = np.exp(-(np.arange(13) ** 2) / (2 * 1.5**2))
    kernel /= kernel.sum()
    columns = np.arange(32)
    for angle, axis, sign in ((0, 2, 1), (90, 1, 1), (180, 2, -1)):
        expected = sum(
            weight * image.take(np.clip(columns + sign * tap, 0, 31), axis)
            for tap, weight in enumerate(kernel)
        )
        found = blur.motion_blurred(image, 6, 1.5, np.array([float(angle)]))
        assert_close(found, np.floor(expected + 0.002))


def test_zoom_blur_is_the_mean_of_zooms(corrupt, pictures):
    image = pictures()[1] / 255
    total = image.copy()
    for factor in np.arange(1, 1.16, 0.01):
        part = math.ceil(32 / factor)
        first = (32 - part) // 2
        centre = image[first : first + part, first : first + part]
        larger = ndimage.zoom(centre, (factor, factor, 1), order=1)
        cut = (len(larger) - 32) // 2
        total += larger[cut : cut + 32, cut : cut + 32]
    assert_close(corrupt("zoom_blur")[1], saved(total / 17))


def test_clouds_are_heights_in_the_unit_interval_and_rougher_with_less_decay():
    rough = []
    for decay in (3, 1.75):
        found = weather.clouds(Draws.of(range(20), 1), 32, decay)
        assert found.shape == (20, 32, 32)
        assert found.min(axis=(1, 2)).max() == 0
        assert found.max(axis=(1, 2)).min() == 1
        rough.append(np.abs(np.diff(found, axis=2)).mean())
    assert rough[0] < rough[1]


def test_fog_whitens_and_keeps_the_range(corrupt, pictures):
    black = np.zeros((2, 32, 32, 3), np.uint8)
    assert corrupt("fog", 5, black).max() == 0  # the published formula scales by the brightest
    black[:, 0, 0] = 255
    found = corrupt("fog", 5, black)[:, 4:]
    cloud = weather.clouds(Draws(generators("fog", 5, 2)), 32, 1.75)[:, 4:, :, None]
    assert_close(found, saved(np.broadcast_to(1.5 * cloud / 2.5, found.shape)))


def test_frost_is_a_weighted_part_of_a_picture(corrupt, frost_folder, pictures):
    images = pictures(224, 2)
    found = corrupt("frost", 3, images)
    for image, corrupted_image, generator in zip(
        images, found, generators("frost", 3, 2), strict=True
    ):
        name = FROST_PICTURES[generator.integers(5)]
        picture = np.asarray(Image.open(frost_folder / name).convert("RGB"))
        top, left = generator.integers(260 - 224), generator.integers(300 - 224)
        part = picture[top : top + 224, left : left + 224]
        assert_close(corrupted_image, saved((0.7 * image + 0.7 * part) / 255))


def test_a_picture_of_frost_that_is_too_small_is_one_clear_line(pictures):
    small = [np.zeros((40, 40, 3), np.uint8)]
    with pytest.raises(UserError, match="has 8 pixels after scaling"):
        weather.frost(pictures(), Draws.of(range(6)), 1, 0.2, 0.2, pictures=small)


def test_snow_bleaches_and_brightens(corrupt):
    images = np.full((10, 32, 32, 3), 60, np.uint8)
    images[..., 0] = 120
    means = [corrupt("snow", severity, images).mean() for severity in (1, 5)]
    assert images.mean() < means[0] < means[1]
    colour = corrupt("snow", 5, images).astype(int)
    assert (colour[..., 0] - colour[..., 1]).mean() < 60


def test_elastic_transform_moves_pixels_but_makes_no_new_values(corrupt, pictures):
    flat = np.full((3, 32, 32, 3), 77, np.uint8)
    assert np.abs(corrupt("elastic_transform", 5, flat).astype(int) - 77).max() <= 1
    images = pictures()
    found = corrupt("elastic_transform", 5)
    assert found.min() >= images.min()
    assert found.max() <= images.max()
    assert (found != images).mean() > 0.3


def test_the_affine_map_brings_the_points_to_where_they_move():
    from solo_adv.evaluation.corruptions.digital import _affine_places  # noqa: PLC0415

    # A shift of all three points by (x, y) = (2, -1): every pixel comes from (-2, +1).
    rows, columns = _affine_places(32, np.array([[2, -1]] * 3, np.float32))
    grid = np.mgrid[:32, :32]
    assert np.abs(rows - (grid[0] + 1)).max() < 1e-6
    assert np.abs(columns - (grid[1] - 2)).max() < 1e-6


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_same_seed_same_pixels_whatever_the_batch(name, corrupt, pictures, monkeypatch):
    images = pictures()
    whole = corrupt(name)
    parts = [corrupt(name, images=images[i : i + 1], places=[i]) for i in range(len(images))]
    assert np.array_equal(whole, np.concatenate(parts))
    assert whole.shape == images.shape
    assert whole.dtype == np.uint8
    monkeypatch.setattr("solo_adv.evaluation.corruptions.generating.AT_ONCE", 7000)
    assert np.array_equal(whole, corrupt(name))
    random = name not in {"defocus_blur", "zoom_blur", "brightness", "contrast", "pixelate"}
    random &= name != "jpeg_compression"
    assert np.array_equal(whole, corrupt(name, seed=6)) == (not random)


MONOTONE = {
    "gaussian_noise", "shot_noise", "impulse_noise", "defocus_blur", "zoom_blur", "fog",
    "brightness", "contrast", "jpeg_compression",
}  # fmt: skip
"""Corruptions whose published severities change pixels more and more. Of the others, some are drawn
too differently from image to image, and some get more severe in other ways."""


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_higher_severities_change_more(name, corrupt, pictures):
    images = pictures(count=12)
    change = [
        np.abs(corrupt(name, severity, images).astype(int) - images).mean()
        for severity in SEVERITIES
    ]
    assert change[0] > 0
    if name in MONOTONE:
        assert change == sorted(change)
    assert len(set(change)) == len(SEVERITIES)


def test_sizes_take_the_nearest_published_severities():
    sizes = (8, 32, 45, 46, 64, 96, 119, 120, 224, 512)
    assert [published_for(size).size for size in sizes] == [
        32,
        32,
        32,
        64,
        64,
        64,
        64,
        224,
        224,
        224,
    ]
    for published in PUBLISHED:
        assert tuple(published.levels) == CORRUPTIONS
        assert len(CORRUPTIONS) == 15


@pytest.mark.parametrize("size", [8, 16, 48, 96])
def test_every_corruption_takes_sizes_between_the_published_ones(size, corrupt, pictures):
    images = pictures(size, 2)
    for name in CORRUPTIONS:
        found = corrupt(name, 5, images)
        assert found.shape == images.shape
        assert (found != images).any(), name
