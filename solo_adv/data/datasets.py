"""Loads the train or test split of any data set."""

from importlib import import_module
from typing import Any

import numpy as np
import torch

from solo_adv.data.config import DataConfig
from solo_adv.data.decoding import Size, decode_all, decode_or_next, readable_rows
from solo_adv.data.image_set import ImageSet
from solo_adv.data.labels import LabelledPart, drawn_rows
from solo_adv.data.sources import RawSplit, Sources, stored_size
from solo_adv.support.checks import choice
from solo_adv.support.errors import UserError
from solo_adv.support.processes import rank
from solo_adv.support.progress import say

SPLITS = ("train", "test")
FRACTION_SEED = 0  # independent of a run's seed, so that all runs see the same images
GIB = 2**30

READERS = {
    "digits": "solo_adv.data.digits",
    "cifar10": "solo_adv.data.cifar",
    "cifar100": "solo_adv.data.cifar",
    "stl10": "solo_adv.data.stl10",
    "svhn": "solo_adv.data.svhn",
    "imagenet100": "solo_adv.data.folders",
    "custom": "solo_adv.data.folders",
}
"""For each data set the module whose ``read(config, split)`` finds the images of a split.

A module is imported only when it is needed, because scikit-learn, torchvision and Arrow take
seconds to import.
"""


def load_split(config: DataConfig, split: str) -> ImageSet | None:
    """Load a split of the data set that ``config`` names.

    ``config.fraction``, and then ``config.labels``, apply to the train split only,
    ``config.no_labels`` to both.

    Args:
        config: which images to load, and how.
        split: `train` or `test`.

    Returns:
        The images; None if the test split is asked for and there is none.

    Raises:
        UserError: the images cannot be found or read; the message says which and what to do.
    """
    choice("split", split, SPLITS)

    def keep(count: int) -> np.ndarray:
        return kept_rows(count, config.fraction if split == "train" else -1)

    raw: RawSplit | None
    if config.in_parquet:
        raw = _parquet().read(config, split, keep)
    else:
        raw = import_module(READERS[config.dataset]).read(config, split)
        if raw is not None and config.fraction != -1:
            raw = raw.select(keep(len(raw.labels)).tolist())
    if raw is None:
        return None
    if raw.findings and rank() == 0:
        say(f"{config.dataset} {split}: {'; '.join(raw.findings)}")
    if config.labels is not None and split == "train":
        part = LabelledPart.read(config.labels)
        rows_drawn = drawn_rows(raw.labels, raw.classes, part, config.labels_seed)
        raw = raw.select(rows_drawn.tolist())
    name = f"{config.dataset} {split}"
    labels = torch.full_like(raw.labels, -1) if config.no_labels else raw.labels
    classes = () if config.no_labels else raw.classes
    # The reader of the digits enlarges them itself, because it has a default size.
    size: Size | None = None if config.dataset == "digits" else config.image_size
    if config.image_size is not None and config.crop_size is not None:
        size = config.image_size, config.crop_size
    stored = raw.stored_size or stored_size(raw.sources)
    skip = config.on_unreadable == "skip"
    if skip and split == "test":  # no other image takes the place of one that is judged
        kept = readable_rows(raw.sources, size, name)
        raw, labels, skip = raw.select(kept.tolist()), labels[kept], False
    if _is_resident(config, raw.sources, size, skip=skip):
        images, rows = decode_all(raw.sources, size, name, skip=skip)
        return ImageSet(name, labels[rows], classes, images=images, stored_size=stored)
    return ImageSet(
        name,
        labels,
        classes,
        sources=raw.sources,
        image_size=size,
        skip=skip,
        stored_size=stored,
    )


def kept_rows(count: int, fraction: float) -> np.ndarray:
    """Choose a random part of ``count`` rows, the same in every run.

    A larger fraction contains all rows of a smaller one. At least one row is kept.

    Args:
        count: number of rows to choose from.
        fraction: share of the rows to keep, in (0, 1]; -1 keeps all.

    Returns:
        The numbers of the kept rows, sorted.
    """
    if fraction == -1:
        return np.arange(count)
    # NumPy promises that RandomState draws the same numbers in all of its versions.
    order = np.random.RandomState(FRACTION_SEED).permutation(count)
    return np.sort(order[: max(1, round(count * fraction))])


def _is_resident(config: DataConfig, sources: Sources, size: Size | None, *, skip: bool) -> bool:
    if isinstance(config.resident, bool):
        return config.resident
    side = size[1] if isinstance(size, tuple) else size
    pixels = side * side if side else decode_or_next(sources, 0, None, skip=skip)[1][..., 0].size
    return len(sources) * 3 * pixels <= config.max_resident_gib * GIB


def _parquet() -> Any:
    """The reader of Parquet files, for which alone pyarrow is installed.

    Raises:
        UserError: pyarrow is not installed.
    """
    try:
        return import_module("solo_adv.data.parquet")
    except ModuleNotFoundError as error:
        if error.name != "pyarrow":
            raise
        raise UserError(
            "Parquet files are read by pyarrow, which is not installed: "
            "pip install 'solo-adv[parquet]'."
        ) from error
