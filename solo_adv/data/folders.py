"""Reads folders of image files."""

from pathlib import Path

import torch
from torchvision.datasets.folder import IMG_EXTENSIONS, make_dataset

from solo_adv.data.config import DataConfig
from solo_adv.data.sources import FileSources, RawSplit
from solo_adv.support.errors import UserError
from solo_adv.support.files import given_path


def read(config: DataConfig, split: str) -> RawSplit | None:
    """Find the images in one sub-folder for each class or, without labels, anywhere below.

    The test split takes its classes from the train split, so that labels stay the same when a
    class is missing from the test split.

    Returns:
        The images in the order of their paths; None for the test split if ``val_path`` is None.

    Raises:
        UserError: there are no images or no class folders, or the test split has a class that
            the train split does not have.
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
    return _unlabelled(root) if config.no_labels else _labelled(root, train)


def _unlabelled(root: Path) -> RawSplit:
    paths = sorted(path for path in root.rglob("*") if path.suffix.lower() in IMG_EXTENSIONS)
    _check_any(len(paths), root)
    return RawSplit(FileSources(paths), torch.full((len(paths),), -1))


def _labelled(root: Path, train: Path) -> RawSplit:
    classes = _class_folders(train)
    foreign = sorted(set(_class_folders(root)) - set(classes))
    if foreign:
        raise UserError(f"'{root}' holds the class '{foreign[0]}', which '{train}' does not have.")
    index = {name: number for number, name in enumerate(classes)}
    samples = make_dataset(root, index, extensions=IMG_EXTENSIONS, allow_empty=True)
    _check_any(len(samples), root)
    labels = torch.tensor([label for _, label in samples], dtype=torch.long)
    return RawSplit(FileSources([Path(path) for path, _ in samples]), labels, tuple(classes))


def _class_folders(root: Path) -> list[str]:
    names = sorted(p.name for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))
    if not names:
        raise UserError(
            f"'{root}' has no sub-folders, and each class needs one;"
            " for images without labels set data.no_labels=true."
        )
    return names


def _check_any(count: int, root: Path) -> None:
    if not count:
        raise UserError(f"No images in '{root}' (looked for {', '.join(sorted(IMG_EXTENSIONS))}).")
