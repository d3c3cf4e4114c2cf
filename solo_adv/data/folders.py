"""Reads folders of image files."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torchvision.datasets.folder import IMG_EXTENSIONS

from solo_adv.data.config import DataConfig
from solo_adv.data.findings import left_out, per_class
from solo_adv.data.sources import FileSources, RawSplit
from solo_adv.data.splits import refuse_splits, splits_among
from solo_adv.data.walking import Found, contains, files_below, in_order, is_hidden
from solo_adv.support.errors import UserError
from solo_adv.support.files import given_path


def read(config: DataConfig, split: str) -> RawSplit | None:
    """Find the images in one sub-folder for each class or, without labels, anywhere below.

    The test split takes its classes from the train split, so that labels stay the same when a
    class is missing from the test split. Hidden files and folders are skipped, links are followed,
    and each file is read once.

    Returns:
        The images in the order of their paths; None for the test split if ``val_path`` is None.

    Raises:
        UserError: there are no images or no class folders, the folders are splits instead of
            classes, or the test split has a class that the train split does not have.
    """
    train = given_path(str(config.train_path))
    if split == "train":
        root = train
    elif config.val_path is None:
        return None
    else:
        root = given_path(config.val_path)
    if not root.is_dir():
        raise UserError(f"'{root}' is a file; a folder of images is needed.")
    raw = _unlabelled(root) if config.no_labels else _labelled(root, train, split)
    if split == "test" and root.samefile(train):
        return raw.with_finding("these are the train images, because data.val_path names them")
    return raw


def _unlabelled(root: Path) -> RawSplit:
    (found,) = files_below([root], IMG_EXTENSIONS)
    paths = sorted(found.files)
    _check_any(paths, root, {"": found})
    splits = splits_among([p.name for p in root.iterdir() if p.is_dir() and not is_hidden(p.name)])
    text = f"{len(paths):,} images without labels in '{root}'{left_out({'': found})}"
    if len(splits) > 1:
        train, test = (root / name for name in splits.values())
        text += f"; the images in '{test}' are among them: data.train_path={train} leaves them out"
    return RawSplit(FileSources(paths), torch.full((len(paths),), -1), findings=(text,))


def _labelled(root: Path, train: Path, split: str) -> RawSplit:
    classes = _class_folders(train, "data.train_path")
    held = classes if split == "train" else _class_folders(root, "data.val_path")
    foreign = sorted(set(held) - set(classes))
    if foreign:
        raise UserError(f"'{root}' holds the class '{foreign[0]}', which '{train}' does not have.")
    found = dict(zip(held, files_below([root / n for n in held], IMG_EXTENSIONS), strict=True))
    paths: list[Path] = []
    labels: list[int] = []
    for number, name in enumerate(classes):
        files = found[name].files if name in found else []
        paths += in_order(files)
        labels += [number] * len(files)
    _check_any(paths, root, found)
    numbers = torch.tensor(labels, dtype=torch.long)
    counted = per_class(numbers.bincount(minlength=len(classes)).tolist(), classes)
    text = f"{counted} in '{root}'{left_out(found)}{_loose(root)}{_deeper(root, found)}"
    return RawSplit(FileSources(paths), numbers, tuple(classes), findings=(text,))


def _class_folders(root: Path, setting: str) -> list[str]:
    """The names of the folders in ``root`` that are classes, sorted.

    Links to ``root``, to a folder around it, and to another class are no classes.
    """
    folders = [p for p in root.iterdir() if p.is_dir() and not is_hidden(p.name)]
    real = {os.path.realpath(p) for p in folders if not p.is_symlink()}
    names = sorted(
        p.name
        for p in folders
        if not p.is_symlink() or not (contains(p, root) or os.path.realpath(p) in real)
    )
    if not names:
        raise UserError(
            f"'{root}' has no sub-folders, and each class needs one;"
            " for images without labels set data.no_labels=true."
        )
    refuse_splits(root, names, setting)
    return names


def _loose(root: Path) -> str:
    loose = sum(
        p.suffix.lower() in IMG_EXTENSIONS and not is_hidden(p.name) and p.is_file()
        for p in root.iterdir()
    )
    return f"; left out: {loose:,} images in no class folder" if loose else ""


def _deeper(root: Path, found: dict[str, Found]) -> str:
    """A warning if no class folder holds an image itself, and all hold folders of the same names.

    Then the class folders may be splits, and the folders in them the classes.
    """
    inner = [
        {path.relative_to(root / name).parts[0] for path in one.files}
        for name, one in found.items()
        if one.files
    ]
    common = set.intersection(*inner) if inner else set()
    if len(common) < 2 or any((root / name / part).is_file() for name in found for part in common):
        return ""
    names = ", ".join(sorted(common)[:3])
    return (
        f"; every class holds folders of the same names ({names}): if those are the classes, name "
        f"the folder around them, such as '{root / next(iter(found))}'"
    )


def _check_any(paths: Sequence[Path], root: Path, found: Mapping[str, Found]) -> None:
    if not paths:
        raise UserError(
            f"No images in '{root}' (looked for {', '.join(sorted(IMG_EXTENSIONS))})"
            f"{left_out(found)}."
        )
