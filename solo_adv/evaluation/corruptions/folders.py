"""Reads the published corrupted images from where the user has them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torchvision.datasets.folder import IMG_EXTENSIONS

from solo_adv.data import ImageSet
from solo_adv.data.sources import FileSources
from solo_adv.data.walking import files_below, in_order, is_hidden
from solo_adv.evaluation.corruptions.severities import CORRUPTIONS, SEVERITIES
from solo_adv.support.errors import UserError
from solo_adv.support.files import given_path

LABELS = "labels.npy"
LAYOUTS = (
    "It must hold labels.npy and a file such as fog.npy for each corruption (CIFAR-10-C, "
    "CIFAR-100-C), or folders such as fog/3/CLASS or weather/fog/3/CLASS (ImageNet-C)."
)


class StoredImages(Protocol):
    """Corrupted images in a folder, as many for each corruption and severity."""

    @property
    def root(self) -> Path:
        """The folder."""

    @property
    def corruptions(self) -> tuple[str, ...]:
        """The corruptions that are there."""

    def at(self, corruption: str, severity: int) -> ImageSet:
        """All images of a corruption at a severity."""


def find_stored(
    folder: str, classes: tuple[str, ...], *, num_classes: int, side: int
) -> StoredImages:
    """Find the corrupted images in a folder, and check that they are complete and fit.

    Args:
        folder: the folder.
        classes: names of the classes in the order of the labels; empty if unknown.
        num_classes: number of classes.
        side: side in pixels of the images that the classifier takes.

    Raises:
        UserError: there are no corrupted images, some are missing or damaged, or they are of other
            classes or of another size.
    """
    root = given_path(folder)
    if not root.is_dir():
        raise UserError(
            f"corruptions={folder}: there is no such folder. Accepted: null, generated, or a "
            "folder with CIFAR-10-C, CIFAR-100-C or ImageNet-C."
        )
    if (root / LABELS).is_file():
        return _arrays(root, num_classes, side)
    return _image_folders(root, classes, side)


@dataclass(frozen=True)
class _Arrays:
    """CIFAR-10-C: an array for each corruption, with the images of one severity after another."""

    root: Path
    corruptions: tuple[str, ...]
    labels: torch.Tensor

    def at(self, corruption: str, severity: int) -> ImageSet:
        each = len(self.labels) // len(SEVERITIES)
        rows = slice((severity - 1) * each, severity * each)
        pixels = np.load(self.root / f"{corruption}.npy", mmap_mode="r")[rows]
        images = torch.from_numpy(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)))
        return ImageSet(f"{corruption} {severity}", self.labels[rows], images=images)


def _arrays(root: Path, num_classes: int, side: int) -> _Arrays:
    labels = _array(root / LABELS)
    count = len(labels) if labels.ndim == 1 else 0
    if count == 0 or count % len(SEVERITIES) or labels.dtype.kind not in "iu":
        raise UserError(
            f"'{root / LABELS}' must hold a whole number for each image of five severities; it has "
            f"{_words(labels)}."
        )
    labels = labels.astype(np.int64)
    if labels.min() < 0 or labels.max() >= num_classes:
        raise UserError(
            f"'{root / LABELS}' has labels from {labels.min()} to {labels.max()}, and the model "
            f"knows {num_classes} classes: these are images of another data set."
        )
    found = [name for name in CORRUPTIONS if (root / f"{name}.npy").is_file()]
    if not found:
        raise UserError(f"'{root}' has labels, but no corruption. {LAYOUTS}")
    for name in found:
        images = _array(root / f"{name}.npy")
        if images.shape != (count, side, side, 3) or images.dtype != np.uint8:
            raise UserError(
                f"'{root / name}.npy' must hold {_words(np.empty((0,), np.uint8), count, side)}, "
                f"for the labels and for the model; it has {_words(images)}."
            )
    return _Arrays(root, tuple(found), torch.from_numpy(labels))


def _array(path: Path) -> np.ndarray:
    try:
        found = np.load(path, mmap_mode="r")
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"'{path}' is damaged or no .npy file of images: {error}") from error
    if not isinstance(found, np.ndarray):
        raise UserError(f"'{path}' is an archive of arrays; a single array is needed.")
    return found


def _words(array: np.ndarray, *shape: int) -> str:
    sizes = (*shape, shape[1], 3) if shape else array.shape
    return f"{array.dtype} {' x '.join(map(str, sizes)) or 'alone'}"


class _PublishedFiles(FileSources):
    """Files of which none may be left out, because each severity holds the same images."""

    remedy = "the corrupted images must be complete: unpack them again"


@dataclass(frozen=True)
class _Folders:
    """ImageNet-C: folders of image files, by corruption, severity and class."""

    root: Path
    places: dict[str, Path]
    """The folder of each corruption."""
    classes: tuple[str, ...]
    side: int

    @property
    def corruptions(self) -> tuple[str, ...]:
        return tuple(self.places)

    def at(self, corruption: str, severity: int) -> ImageSet:
        folder = self.places[corruption] / str(severity)
        held = [n for n, name in enumerate(self.classes) if (folder / name).is_dir()]
        found = files_below([folder / self.classes[n] for n in held], IMG_EXTENSIONS)
        labels = [n for n, here in zip(held, found, strict=True) for _ in here.files]
        paths = [path for here in found for path in in_order(here.files)]
        return ImageSet(
            f"{corruption} {severity}",
            torch.tensor(labels, dtype=torch.long),
            self.classes,
            sources=_PublishedFiles(paths),
            image_size=self.side,
        )


def _image_folders(root: Path, classes: tuple[str, ...], side: int) -> _Folders:
    places = {}
    for name in CORRUPTIONS:
        found = [
            place for place in (root / name, *sorted(root.glob(f"*/{name}"))) if place.is_dir()
        ]
        if len(found) > 1:
            raise UserError(f"'{root}' holds {name} twice: '{found[0]}' and '{found[1]}'.")
        if found:
            places[name] = found[0]
    if not places:
        raise UserError(f"'{root}' holds no corrupted images. {LAYOUTS}")
    if not classes:
        raise UserError(
            "The data set does not say what its classes are called, and the folders of corrupted "
            "images are found by those names."
        )
    stored = _Folders(root, places, classes, side)
    first = None
    for name, place in places.items():
        for severity in SEVERITIES:
            folder = place / str(severity)
            _check_classes(folder, classes)
            count = len(stored.at(name, severity))
            first = count if first is None else first
            if count == 0 or count != first:
                raise UserError(
                    f"'{folder}' holds {count:,} images, and '{next(iter(places.values())) / '1'}' "
                    f"{first:,}: it is incomplete."
                )
    return stored


def _check_classes(folder: Path, classes: Sequence[str]) -> None:
    if not folder.is_dir():
        raise UserError(f"'{folder}' is missing: a corruption needs the severities 1 to 5.")
    for place in sorted(folder.iterdir()):
        if place.is_dir() and place.name not in classes and not is_hidden(place.name):
            raise UserError(
                f"'{folder}' holds the class '{place.name}', which the test set does not have: "
                "these are images of another data set."
            )
