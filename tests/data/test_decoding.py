"""Unusual or damaged images are read correctly, or refused by name."""

import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as tv

from solo_adv.data import DataConfig, load_split
from solo_adv.data.decoding import as_rgb, to_square
from solo_adv.support.errors import UnreadableImageError

GREY = np.arange(0, 65536, 1024, dtype=np.uint16).reshape(8, 8)


def save(image, path):
    image.save(path)
    return as_rgb(Image.open(path))


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bits_keep_their_brightness(tmp_path, suffix):
    found = np.asarray(save(Image.fromarray(GREY), tmp_path / f"a.{suffix}"))
    np.testing.assert_allclose(found[:, :, 0] / 255, GREY / 65535, atol=0.5 / 255)


def test_cmyk_becomes_rgb(tmp_path):
    found = np.asarray(save(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), tmp_path / "a.tif"))
    assert found[0, 0].tolist() == [255, 0, 0]


def test_the_first_frame_of_an_animation_is_read(tmp_path):
    frames = [Image.new("RGB", (8, 8), color) for color in ("red", "blue")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert np.asarray(as_rgb(Image.open(tmp_path / "a.gif")))[0, 0].tolist() == [255, 0, 0]


def test_squares_are_torchvisions():
    numbers = np.random.default_rng(0)
    for width, height, side in numbers.integers(1, 70, (60, 3)).tolist():
        image = Image.fromarray(numbers.integers(0, 256, (height, width, 3), dtype=np.uint8))
        expected = tv.resize(image, side, interpolation=InterpolationMode.BICUBIC)
        expected = np.asarray(tv.center_crop(expected, side))
        np.testing.assert_array_equal(np.asarray(to_square(image, side)), expected)


def _float(path):
    Image.fromarray(np.ones((8, 8), np.float32)).save(path, "TIFF")


def _bomb(path):
    header = b"IHDR" + struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
    end = struct.pack(">I", zlib.crc32(header))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + end)


def _truncated(path):
    noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path, "PNG")
    path.write_bytes(path.read_bytes()[:1500])


BAD = {
    "empty": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("<html>not found</html>"),
    "truncated": _truncated,
    "range unknown": _float,
    "decompression bomb": _bomb,
    "gone": lambda path: path.unlink(),
}


@pytest.fixture
def folder(tmp_path):
    for number in range(3):
        Image.new("RGB", (8, 8), (number, 0, 0)).save(tmp_path / f"{number}.png")
    return tmp_path


@pytest.mark.parametrize("kind", BAD)
@pytest.mark.parametrize("resident", [True, False])
def test_bad_images_are_named_or_skipped(folder, kind, resident):
    settings = {"dataset": "custom", "no_labels": True, "train_path": str(folder)}
    settings |= {"image_size": 8, "resident": resident}
    if kind == "gone":
        if resident:
            pytest.skip("it is read before it can go")
        split = load_split(DataConfig(**settings), "train")
        skipping = load_split(DataConfig(**settings, on_unreadable="skip"), "train")
        BAD[kind](folder / "1.png")
    else:
        BAD[kind](folder / "1.png")
        split = skipping = None
    with pytest.raises(UnreadableImageError, match=r"1\.png"):
        (split or load_split(DataConfig(**settings), "train")).read(1)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        skipping = skipping or load_split(DataConfig(**settings, on_unreadable="skip"), "train")
        image = skipping.read(1)[1]
    assert image[0, 0, 0] == 2
    assert any("1.png" in str(warning.message) for warning in caught)


@pytest.mark.parametrize("size", [(40, 32), (30, 30), (61, 45), (32, 40)])
def test_resize_and_crop_is_torchvisions(size):
    noise = np.random.default_rng(0).integers(0, 256, (*size[::-1], 3), dtype=np.uint8)
    image = Image.fromarray(noise)
    resized = tv.resize(image, 32, InterpolationMode.BICUBIC)
    expected = np.asarray(tv.center_crop(resized, 25))
    np.testing.assert_array_equal(np.asarray(to_square(image, (32, 25))), expected)


@pytest.mark.parametrize("kind", [kind for kind in BAD if kind != "gone"])
@pytest.mark.parametrize("resident", [True, False])
def test_bad_test_images_are_named_or_left_out(folder, kind, resident):
    BAD[kind](folder / "1.png")
    settings = {"dataset": "custom", "no_labels": True, "train_path": str(folder)}
    settings |= {"val_path": str(folder), "image_size": 8, "resident": resident}
    with pytest.raises(UnreadableImageError, match=r"1\.png.*leaves out such test images"):
        load_split(DataConfig(**settings), "test").read(1)
    with pytest.warns(UserWarning, match=r"Left out: .*1\.png"):
        test = load_split(DataConfig(**settings, on_unreadable="skip"), "test")
    assert [int(image[0, 0, 0]) for image, _ in test] == [0, 2]
