import numpy as np
import pytest
import torch
from PIL import Image

from solo_adv.data import DataConfig, load_split
from solo_adv.support.errors import UserError

LABELS = [0, 1, 2] * 4
ORDER = np.argsort(LABELS, kind="stable")  # folders are listed by class, then by file
NAMES = ("bird", "car", "plane")  # sorted


def config(path, **options):
    options.setdefault("dataset", "custom")
    return DataConfig(train_path=str(path), **options)


@pytest.fixture
def folder(tmp_path, pixels, write_folder):
    return write_folder(tmp_path / "train", pixels, LABELS, NAMES)


@pytest.mark.parametrize("dataset", ["custom", "imagenet100"])
@pytest.mark.parametrize("resident", [True, False])
def test_labelled(folder, pixels, dataset, resident):
    train = load_split(config(folder, dataset=dataset, resident=resident), "train")
    assert train.classes == NAMES
    assert train.labels.tolist() == sorted(LABELS)
    expected = torch.from_numpy(pixels[ORDER].transpose(0, 3, 1, 2).copy())
    assert torch.equal(torch.stack([image for image, _ in train]), expected)
    assert load_split(config(folder, dataset=dataset), "test") is None


def test_labels_of_the_test_split_follow_the_train_classes(tmp_path, folder, pixels, write_folder):
    write_folder(tmp_path / "val", pixels[:4], [0, 0, 1, 1], ("car", "plane"))
    test = load_split(config(folder, val_path=str(tmp_path / "val")), "test")
    assert test.labels.tolist() == [1, 1, 2, 2]
    assert test.classes == NAMES
    (tmp_path / "val/zebra").mkdir()
    with pytest.raises(UserError, match="holds the class 'zebra', which"):
        load_split(config(folder, val_path=str(tmp_path / "val")), "test")


def test_unlabelled_at_any_depth(tmp_path, pixels):
    (tmp_path / "a/b").mkdir(parents=True)
    for name, image in zip(("z.PNG", "a/y.png", "a/b/x.png"), pixels, strict=False):
        Image.fromarray(image).save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("not an image")
    train = load_split(config(tmp_path, no_labels=True), "train")
    assert train.labels.tolist() == [-1] * 3
    assert train.classes == ()
    expected = torch.from_numpy(pixels[[2, 1, 0]].transpose(0, 3, 1, 2).copy())
    assert torch.equal(train.images, expected)


def test_grey_palette_and_transparent_images_become_rgb(tmp_path):
    grey = np.arange(64, dtype=np.uint8).reshape(8, 8)
    rgba = np.full((8, 8, 4), (10, 20, 30, 128), dtype=np.uint8)
    Image.fromarray(grey).save(tmp_path / "a.png")
    Image.fromarray(rgba).save(tmp_path / "b.png")
    Image.fromarray(rgba[..., :3]).convert("P").save(tmp_path / "c.png")
    train = load_split(config(tmp_path, no_labels=True), "train")
    assert train.images.shape == (3, 3, 8, 8)
    assert np.array_equal(train.images[0, 2].numpy(), grey)
    assert train.images[1, :, 0, 0].tolist() == [10, 20, 30]


def test_exif_orientation_is_ignored(tmp_path, pixels):
    exif = Image.Exif()
    exif[0x0112] = 6  # says that the image is to be turned by 90 degrees
    Image.fromarray(pixels[0]).save(tmp_path / "a.png", exif=exif)
    train = load_split(config(tmp_path, no_labels=True), "train")
    assert np.array_equal(train.images[0].numpy(), pixels[0].transpose(2, 0, 1))


@pytest.fixture
def uneven(tmp_path):
    """A wide and a high image, dark except for a bright square in the centre."""
    wide = np.zeros((20, 60, 3), dtype=np.uint8)
    wide[:, 20:40] = 255
    Image.fromarray(wide).save(tmp_path / "a.png")
    Image.fromarray(wide.transpose(1, 0, 2)).save(tmp_path / "b.png")
    return tmp_path


@pytest.mark.parametrize("resident", [True, False])
def test_image_size_crops_the_centre(uneven, resident):
    train = load_split(config(uneven, no_labels=True, image_size=10, resident=resident), "train")
    for image, _ in train:
        assert image.shape == (3, 10, 10)
        assert (image[:, 2:8, 2:8] == 255).all()
        assert image.float().mean() > 240


@pytest.mark.parametrize("resident", [True, False, "auto"])
def test_different_sizes_need_an_image_size(uneven, resident):
    with pytest.raises(UserError, match=r"60x20, and 20x60 for .*b\.png.*set data\.image_size"):
        list(load_split(config(uneven, no_labels=True, resident=resident), "train"))


def test_fraction(folder):
    first = load_split(config(folder, fraction=0.5), "train")
    assert len(first) == 6
    assert first.fingerprint() == load_split(config(folder, fraction=0.5), "train").fingerprint()


@pytest.mark.parametrize("resident", [True, False])
def test_unreadable_image(folder, resident):
    (folder / "car/broken.png").write_bytes(b"\x89PNG\r\n\x1a\n and then nothing")
    with pytest.raises(UserError, match=r"Cannot read the image '.*car/broken\.png'"):
        list(load_split(config(folder, resident=resident), "train"))


def test_truncated_image(folder):
    path = folder / "car/001.png"
    path.write_bytes(path.read_bytes()[:-60])
    with pytest.raises(UserError, match=r"Cannot read the image '.*car/001\.png'"):
        load_split(config(folder), "train")


def test_no_class_folders(tmp_path, pixels):
    Image.fromarray(pixels[0]).save(tmp_path / "a.png")
    with pytest.raises(UserError, match=r"set data\.no_labels=true"):
        load_split(config(tmp_path), "train")


@pytest.mark.parametrize("no_labels", [True, False])
def test_empty_folder(tmp_path, no_labels):
    (tmp_path / "car").mkdir()
    with pytest.raises(UserError, match="No images in"):
        load_split(config(tmp_path, no_labels=no_labels), "train")


def test_file_instead_of_a_folder(tmp_path):
    (tmp_path / "a.png").touch()
    with pytest.raises(UserError, match="a folder of images is needed"):
        load_split(config(tmp_path / "a.png"), "train")


def test_unknown_split(folder):
    with pytest.raises(UserError, match=r"Unknown split 'tets'. Did you mean 'test'"):
        load_split(config(folder), "tets")


@pytest.fixture
def fingerprint(folder):
    """A function from settings to the fingerprints of the resident and of the streamed set."""

    def both(**settings):
        sets = [load_split(config(folder, resident=r, **settings), "train") for r in (True, False)]
        assert [one.resident for one in sets] == [True, False]
        assert sets[1].fingerprint() == sets[1].fingerprint()
        return [one.fingerprint() for one in sets]

    return both


@pytest.mark.parametrize(
    "settings", [{}, {"image_size": 5}, {"fraction": 0.5}, {"no_labels": True}], ids=str
)
def test_the_fingerprint_does_not_depend_on_where_the_pixels_are(fingerprint, settings):
    resident, streamed = fingerprint(**settings)
    assert resident == streamed
    assert (resident == fingerprint()[0]) == (settings == {})


@pytest.mark.filterwarnings("ignore:Skipped")
@pytest.mark.parametrize("name", ["bird/000.png", "plane/003.png"])
def test_the_fingerprint_has_the_image_that_takes_a_skipped_ones_place(folder, fingerprint, name):
    before = fingerprint()[0]
    (folder / name).write_bytes(b"")
    resident, streamed = fingerprint(on_unreadable="skip")
    assert resident == streamed != before


def test_the_fingerprint_sees_a_changed_pixel_and_no_moved_folder(folder, fingerprint, pixels):
    before = fingerprint()
    moved = folder.rename(folder.with_name("moved"))
    assert load_split(config(moved, resident=False), "train").fingerprint() == before[0]
    moved.rename(folder)
    image = Image.open(folder / "bird/000.png")
    image.putpixel((0, 0), (1, 2, 3))
    image.save(folder / "bird/000.png")
    assert not {*before} & {*fingerprint()}
