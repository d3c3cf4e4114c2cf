"""What folders really look like: each row has a kind, an example of it and the right behaviour.

Every example begins with the folder ``train``, which holds 3 images of each of two classes. Right
is the number of images of each class (labelled) and in all (unlabelled), and a part of the line
that says what was found; or a part of the message that refuses the folder.
"""

import os

import numpy as np
import pytest
from PIL import Image
from torchvision.datasets import ImageFolder

from solo_adv.data import DataConfig, load_split
from solo_adv.support.errors import UserError

EACH = 3


def picture(path, shade=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((8, 8, 3), shade, dtype=np.uint8)).save(path)


def link(path, target):
    path.parent.mkdir(parents=True, exist_ok=True)
    os.symlink(target, path)


def moved_out(root, to):
    """The class folders become links to folders elsewhere."""
    for name in ("ape", "bee"):
        to.mkdir(exist_ok=True)
        (root / name).rename(to / name)
        link(root / name, os.path.relpath(to / name, root))


def linked_files(root, to):
    """Every image becomes a link to a file without extension, as in Hugging Face's cache."""
    to.mkdir()
    for number, file in enumerate(sorted(root.glob("*/*.png"))):
        file.rename(to / f"blob{number}")
        link(file, to / f"blob{number}")


ANY = None

# kind, what is done to the folder, images by class, images without labels, part of what is said
FOUND = [
    ("nothing unusual", lambda r: None, [3, 3], 6, "6 images of 2 classes (ape 3, bee 3)"),
    (
        "an extension that is not read",
        lambda r: [f.rename(f.with_suffix(".GIF")) for f in (r / "bee").iterdir()],
        [3, 0],
        3,
        "(ape 3, bee 0; NO images of bee) in '{root}'; left out: 3 .gif in bee",
    ),
    (
        "several other extensions",
        lambda r: [(r / "ape/a.heic").touch(), (r / "bee/n.txt").touch(), (r / "bee/x").touch()],
        [3, 3],
        6,
        "left out: 1 .heic in ape, 1 .txt in bee, 1 without extension in bee",
    ),
    (
        "a hidden folder in a class",
        lambda r: picture(r / "ape/.ipynb_checkpoints/0-checkpoint.png"),
        [3, 3],
        6,
        ANY,
    ),
    ("a tool's folder in a class", lambda r: picture(r / "ape/@eaDir/0.png"), [3, 3], 6, ANY),
    ("a tool's folder as a class", lambda r: picture(r / "__MACOSX/0.png"), [3, 3], 6, ANY),
    ("a hidden folder as a class", lambda r: picture(r / ".thumbs/0.png"), [3, 3], 6, ANY),
    ("AppleDouble", lambda r: (r / "bee/._0.png").write_bytes(b"\0\5\x16\7"), [3, 3], 6, ANY),
    ("a folder named like an image", lambda r: (r / "bee/scan.png").mkdir(), [3, 3], 6, ANY),
    ("images in it", lambda r: picture(r / "bee/scan.png/9.png"), [3, 4], 7, ANY),
    ("a link back up", lambda r: link(r / "ape/loop", ".."), [3, 3], 6, "1 links to what is read"),
    ("a link to the class itself", lambda r: link(r / "ape/loop", "."), [3, 3], 6, "1 links"),
    ("a link far up", lambda r: link(r / "ape/loop", "../../.."), [3, 3], 6, "1 links"),
    ("a link to the root as a class", lambda r: link(r / "all", "."), [3, 3], 6, ANY),
    ("another class's second name", lambda r: link(r / "monkey", "ape"), [3, 3], 6, ANY),
    ("a link to another class", lambda r: link(r / "ape/more", "../bee"), [3, 3], 6, "1 links"),
    ("a link to a read file", lambda r: link(r / "bee/again.png", "0.png"), [3, 3], 6, "1 links"),
    ("a link to nothing", lambda r: link(r / "bee/no.png", "nowhere"), [3, 3], 6, "1 broken link"),
    ("classes that are links", lambda r: moved_out(r, r.parent / "store"), [3, 3], 6, ANY),
    ("files that are links", lambda r: linked_files(r, r.parent / "blobs"), [3, 3], 6, ANY),
    ("images beside the classes", lambda r: picture(r / "0.png"), [3, 3], 7, ANY),
    (
        "a class called train",
        lambda r: [picture(r / "train/0.png"), picture(r / "trial/0.png")],
        [3, 3, 1, 1],
        8,
        ANY,
    ),
]


@pytest.fixture
def root(tmp_path):
    for name in ("ape", "bee"):
        for number in range(EACH):
            picture(tmp_path / "train" / name / f"{number}.png", 20 * number)
    return tmp_path / "train"


def load(root, **settings):
    return load_split(DataConfig(dataset="custom", train_path=str(root), **settings), "train")


@pytest.mark.parametrize("row", FOUND, ids=lambda row: row[0])
def test_labelled(root, capsys, row):
    _, change, counts, _, said = row
    change(root)
    train = load(root)
    assert train.labels.bincount(minlength=len(train.classes)).tolist() == counts
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    assert line.startswith(f"custom train: {sum(counts)} images of {len(counts)} classes")
    assert (said or "").replace("{root}", str(root)) in line


@pytest.mark.parametrize("row", FOUND, ids=lambda row: row[0])
def test_unlabelled(root, capsys, row):
    _, change, _, count, _ = row
    change(root)
    assert len(load(root, no_labels=True)) == count
    line = capsys.readouterr().err
    assert line.startswith(f"custom train: {count} images without labels in '{root}'")


# kind, names of two folders instead of ape and bee, part of the message
REFUSED = [
    ("train and val", ("train", "val"), "data.train_path={root}/train data.val_path={root}/val"),
    ("in capitals", ("Train", "Test"), "data.train_path={root}/Train data.val_path={root}/Test"),
    ("with a prefix", ("seg_train", "seg_test"), "data.train_path={root}/seg_train"),
    ("with a year", ("train-2017", "val-2017"), "data.val_path={root}/val-2017"),
    ("val and test alone", ("val", "test"), "set data.val_path={root}/"),
]


@pytest.mark.parametrize("row", REFUSED, ids=lambda row: row[0])
def test_splits_are_no_classes(tmp_path, row):
    _, names, said = row
    for name in names:
        picture(tmp_path / name / "ape/0.png")
    with pytest.raises(UserError, match="holds the splits") as caught:
        load(tmp_path)
    assert said.replace("{root}", str(tmp_path)) in str(caught.value)


def test_the_root_of_the_splits_as_val_path(root, tmp_path):
    picture(tmp_path / "val/ape/0.png")
    config = DataConfig(dataset="custom", train_path=str(root), val_path=str(tmp_path))
    with pytest.raises(UserError, match=r"data.val_path='.*' holds the splits train, val"):
        load_split(config, "test")


def test_unlabelled_images_of_both_splits_are_said(root, tmp_path, capsys):
    picture(tmp_path / "val/ape/0.png")
    assert len(load(tmp_path, no_labels=True)) == 7
    assert f"the images in '{tmp_path / 'val'}' are among them" in capsys.readouterr().err


def test_the_same_images_for_both_splits_are_said(root, capsys):
    config = DataConfig(dataset="custom", train_path=str(root), val_path=f"{root}/.")
    assert len(load_split(config, "test")) == 6
    assert "these are the train images" in capsys.readouterr().err


def test_classes_one_level_deeper_are_said(tmp_path, capsys):
    for part in ("part1", "part2"):
        for name in ("ape", "bee"):
            picture(tmp_path / part / name / "0.png")
    assert load(tmp_path).num_classes == 2
    assert "(ape, bee): if those are the classes, name the folder around them, such as " in (
        capsys.readouterr().err
    )


def test_many_classes_are_summed_up(tmp_path, capsys):
    for number in range(12):
        (tmp_path / f"c{number:02}").mkdir()
        for image in range(number % 3):
            picture(tmp_path / f"c{number:02}/{image}.png")
    load(tmp_path)
    line = capsys.readouterr().err
    assert "12 images of 12 classes (1 to 2 each; NO images of c00, c03, c06, c09)" in line


def test_a_folder_of_other_extensions_only(tmp_path):
    (tmp_path / "ape").mkdir()
    (tmp_path / "ape/0.heic").touch()
    with pytest.raises(UserError, match=r"No images in .*left out: 1 \.heic"):
        load(tmp_path)


def test_the_order_is_torchvisions(root):
    """Published fingerprints and saved draws depend on the order."""
    picture(root / "ape/inner/0.png")
    picture(root / "ape/inner-2/0.png")
    picture(root / "ape/z.png")
    theirs = [path for path, _ in ImageFolder(str(root)).samples]
    ours = load(root, resident=False)
    assert [ours._sources.describe(n).strip("'") for n in range(len(ours))] == theirs
