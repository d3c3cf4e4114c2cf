"""Folders of corrupted images are read as they were made, and bad ones are refused in one line."""

import numpy as np
import pytest
from PIL import Image

from solo_adv.evaluation.corruptions.folders import find_stored
from solo_adv.evaluation.corruptions.severities import SEVERITIES
from solo_adv.support.errors import UserError

CLASSES = ("cat", "dog")


@pytest.fixture
def arrays(tmp_path):
    """CIFAR-10-C with four images of 8 pixels and two corruptions."""
    draw = np.random.default_rng(0)
    shape = (20, 8, 8, 3)
    images = {name: draw.integers(0, 256, shape).astype(np.uint8) for name in ("snow", "fog")}
    for name, pixels in images.items():
        np.save(tmp_path / f"{name}.npy", pixels)
    np.save(tmp_path / "speckle_noise.npy", images["fog"])  # not one of the 15
    np.save(tmp_path / "labels.npy", np.tile(np.array([0, 1, 1, 0], np.uint8), 5))
    return tmp_path, images


@pytest.fixture
def folders(tmp_path):
    """ImageNet-C with images of 8 pixels, one corruption directly and one below its group."""
    draw = np.random.default_rng(0)
    held = {}
    for name, place in (("fog", "weather/fog"), ("pixelate", "pixelate")):
        for severity in SEVERITIES:
            for label, number in (("cat", 0), ("dog", 0), ("dog", 1)):
                folder = tmp_path / place / str(severity) / label
                folder.mkdir(parents=True, exist_ok=True)
                pixels = draw.integers(0, 256, (8, 8, 3)).astype(np.uint8)
                Image.fromarray(pixels).save(folder / f"{number}.png")
                held.setdefault((name, severity), []).append(pixels)
    return tmp_path, held


def find(root, classes=CLASSES, num_classes=2, side=8):
    return find_stored(str(root), classes, num_classes=num_classes, side=side)


def pixels_of(image_set):
    return np.stack([image_set[i][0].permute(1, 2, 0).numpy() for i in range(len(image_set))])


def test_arrays_hold_one_severity_after_another(arrays):
    root, images = arrays
    stored = find(root)
    assert stored.corruptions == ("snow", "fog")
    for severity in SEVERITIES:
        found = stored.at("fog", severity)
        assert np.array_equal(pixels_of(found), images["fog"][4 * severity - 4 : 4 * severity])
        assert found.labels.tolist() == [0, 1, 1, 0]


def test_image_folders_are_found_with_and_without_their_group(folders):
    root, held = folders
    stored = find(root)
    assert stored.corruptions == ("fog", "pixelate")
    for (name, severity), pixels in held.items():
        found = stored.at(name, severity)
        assert np.array_equal(pixels_of(found), np.stack(pixels))
        assert found.labels.tolist() == [0, 1, 1]
    assert find(root, classes=("ape", *CLASSES)).at("fog", 1).labels.tolist() == [1, 2, 2]


def test_what_tools_leave_beside_images_is_not_read(folders, tmp_path):
    root, held = folders
    for severity in SEVERITIES:
        place = root / "weather/fog" / str(severity)
        image = (place / "dog/0.png").read_bytes()
        (place / "cat/._0.png").write_bytes(b"\x00\x05\x16\x07")  # AppleDouble
        (place / "dog/2.png").mkdir()  # a folder named like an image
        for folder in (place / ".ipynb_checkpoints", place / "dog/.ipynb_checkpoints"):
            folder.mkdir()
            (folder / "0.png").write_bytes(image)
    (root / "pixelate/1/dog/1.png").rename(tmp_path / "1.png")
    (root / "pixelate/1/dog/1.png").symlink_to(tmp_path / "1.png")
    stored = find(root)
    for name in ("fog", "pixelate"):
        assert np.array_equal(pixels_of(stored.at(name, 1)), np.stack(held[name, 1]))


def test_an_image_that_cannot_be_read_is_named(folders):
    (folders[0] / "weather/fog/3/dog/1.png").write_bytes(b"no image")
    with pytest.raises(UserError, match=r"fog/3/dog/1\.png.*unpack them again"):
        pixels_of(find(folders[0]).at("fog", 3))


def test_images_are_brought_to_the_size_that_the_model_takes(folders):
    assert find(folders[0], side=4).at("fog", 1)[0][0].shape == (3, 4, 4)


def without_labels(root):
    (root / "labels.npy").unlink()


def only_labels(root):
    for name in ("snow", "fog"):
        (root / f"{name}.npy").unlink()


def save(name, array):
    return lambda root: np.save(root / name, array)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (without_labels, "holds no corrupted images. It must hold labels.npy"),
        (only_labels, "has labels, but no corruption"),
        (save("labels.npy", np.zeros(19, int)), "five severities; it has int64 19"),
        (save("labels.npy", np.zeros((20, 1), int)), "five severities"),
        (save("labels.npy", np.zeros(20)), "five severities"),
        (save("labels.npy", np.full(20, 7)), "from 7 to 7, and the model knows 2 classes"),
        (save("fog.npy", np.zeros((20, 8, 8, 3))), "it has float64 20 x 8 x 8 x 3"),
        (save("fog.npy", np.zeros((4, 8, 8, 3), np.uint8)), "must hold uint8 20 x 8 x 8 x 3"),
        (save("fog.npy", np.zeros((20, 9, 9, 3), np.uint8)), "it has uint8 20 x 9 x 9 x 3"),
        (lambda root: (root / "fog.npy").write_bytes(b"\x93NUMPY"), "is damaged or no .npy file"),
        (lambda root: (root / "fog.npy").write_bytes(b""), "is damaged or no .npy file"),
        (
            lambda root: np.savez((root / "fog.npy").open("wb"), a=np.zeros(2)),
            "an archive of arrays",
        ),
    ],
)
def test_bad_arrays_are_one_clear_line(arrays, change, words):
    root, _ = arrays
    change(root)
    with pytest.raises(UserError) as caught:
        find(root)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda root: (root / "weather/fog/4").rename(root / "gone"), "fog/4' is missing"),
        (lambda root: (root / "weather/fog/4/cat/0.png").unlink(), "holds 2 images"),
        (lambda root: (root / "pixelate/2/ape").mkdir(), "holds the class 'ape'"),
        (lambda root: (root / "fog").mkdir(), "holds fog twice"),
    ],
)
def test_bad_image_folders_are_one_clear_line(folders, change, words):
    root, _ = folders
    change(root)
    with pytest.raises(UserError) as caught:
        find(root)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_that_is_not_there_and_classes_without_names(folders, tmp_path):
    with pytest.raises(UserError, match="there is no such folder"):
        find(tmp_path / "nowhere")
    with pytest.raises(UserError, match="does not say what its classes are called"):
        find(folders[0], classes=())
