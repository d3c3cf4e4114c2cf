"""The settings of the `data` group of a configuration, and their checks."""

import glob
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from solo_adv.data.labels import LabelledPart
from solo_adv.support.checks import (
    channel_statistics,
    choice,
    flag,
    is_number,
    known_keys,
    number,
    whole,
)
from solo_adv.support.errors import UserError
from solo_adv.support.files import given_path
from solo_adv.support.settings import plain

DATASETS = ("digits", "cifar10", "cifar100", "stl10", "svhn", "imagenet100", "custom")
TORCHVISION_SETS = ("cifar10", "cifar100", "stl10", "svhn")
TRAIN_SPLITS = {
    "stl10": ("train", "unlabelled", "train+unlabelled"),
    "svhn": ("train", "extra", "train+extra"),
}
"""The images that may be trained on, for data sets that have more than their train split."""
FORMATS = ("image_folder", "parquet", "dali")
ON_UNREADABLE = ("error", "skip")

# solo-learn's parse_cfg writes these keys into the group. This package computes them from the data
# and the crops.
IGNORED_KEYS = frozenset({"num_classes", "num_large_crops", "num_small_crops"})

EVALUATION_KEYS = ("labels", "labels_seed", "crop_size")


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Which images to train and test on. The names are those of solo-learn's `data` group.

    Attributes:
        dataset: one of ``DATASETS``.
        train_path: folder of the train split; for Parquet also a file or a glob. The default for
            data sets that torchvision downloads is `./datasets`; digits do not use it.
        val_path: the same for the test split. With None, the test split is looked for beside the
            train split if the layout has a place for it; otherwise there is no test split.
        train_split: for STL-10 and SVHN, which images to train on, one of ``TRAIN_SPLITS``.
            Evaluations train heads on `train` unless they are told otherwise.
        format: `image_folder` (for data sets that torchvision downloads, its files), `parquet`, or
            `dali`. With `dali`, ``train_path`` names files of either kind, and NVIDIA DALI decodes
            and crops the train images.
        fraction: part of the train split to use, in (0, 1]; -1 uses all of it.
        labels: in evaluations, the part of the train images to learn from, drawn from every class:
            a share such as 0.01 or "1%", or a number such as "20_per_class". The other train images
            are not used at all. None uses all of them.
        labels_seed: seed of that draw, 0 to 2**32 - 1.
        no_labels: whether to ignore labels; image folders then need no sub-folder for each class.
        label_column: the column of Parquet files that holds the labels; None finds it by
            Hugging Face's metadata or by the usual names.
        num_workers: number of processes that decode images when the images are not resident.
        image_size: side in pixels to which every image is brought: its shorter side is resized and
            its centre cropped. With None, images stay as they are and must all have one size.
        crop_size: in evaluations, side in pixels of the centre to which images are cropped after
            they were brought to ``image_size``. None crops nothing; see :func:`judged_crop` for
            what evaluations take by themselves.
        download: whether to download images that are not on disk, where torchvision can.
        resident: whether to keep all images decoded in (device) memory; "auto" keeps them if they
            fit.
        max_resident_gib: most GiB of decoded images that "auto" keeps resident.
        on_unreadable: with "error", an image that cannot be decoded ends the run. With "skip", a
            warning names it. The next readable image takes the place of a train image; a test
            image is left out of all accuracies, for which all are decoded once beforehand.
        mean: mean of each of the three channels, pixels in [0, 1]; the model uses it.
        std: standard deviation of each of the three channels; the model uses it.

    Raises:
        UserError: a value is not accepted, or a path is missing.
    """

    dataset: str
    train_path: str | None = None
    val_path: str | None = None
    train_split: str = "train"
    format: str = "image_folder"
    fraction: float = -1
    labels: str | float | None = None
    labels_seed: int = 0
    no_labels: bool = False
    label_column: str | None = None
    num_workers: int = 4
    image_size: int | None = None
    crop_size: int | None = None
    download: bool = True
    resident: str | bool = "auto"
    max_resident_gib: float = 8
    on_unreadable: str = "error"
    mean: list[float] | None = None
    std: list[float] | None = None

    def __post_init__(self) -> None:
        choice("data.dataset", self.dataset, DATASETS)
        choice("data.train_split", self.train_split, TRAIN_SPLITS.get(self.dataset, ("train",)))
        choice("data.format", self.format, FORMATS)
        choice("data.on_unreadable", self.on_unreadable, ON_UNREADABLE)
        self._check_values()
        self._check_labels()
        if self.dataset in TORCHVISION_SETS and self.train_path is None:
            object.__setattr__(self, "train_path", "./datasets")
        self._check_paths()

    @classmethod
    def from_config(cls, mapping: Mapping[Any, Any]) -> "DataConfig":
        """Read the `data` group of a pretraining config, which may be a dict or OmegaConf's.

        Raises:
            UserError: a key or a value is not accepted, or a path is missing.
        """
        if mapping.get("crop_size") is not None:
            raise UserError(
                "data.crop_size is for evaluations, which crop the centre; pretraining draws crops "
                "of crops.size."
            )
        for key in EVALUATION_KEYS:
            if mapping.get(key) is not None:
                raise UserError(
                    f"data.{key} is for evaluations, which learn from labels; pretraining uses all "
                    "images, or the part that data.fraction says."
                )
        return cls._read(mapping)

    @classmethod
    def _read(cls, mapping: Mapping[Any, Any]) -> "DataConfig":
        given = {key: value for key, value in mapping.items() if key not in IGNORED_KEYS}
        known_keys("data", given, cls)
        if given.get("dataset") is None:
            raise UserError(f"data.dataset is missing. Accepted: {', '.join(sorted(DATASETS))}.")
        for key in ("mean", "std"):
            if given.get(key) is not None:
                given[key] = plain(given[key])
                channel_statistics(f"data.{key}", given[key])
                given[key] = [float(value) for value in given[key]]
        return cls(**given)

    @classmethod
    def for_evaluation(
        cls,
        pretraining: Mapping[str, Any],
        overrides: Mapping[str, Any],
        *,
        input_size: int | None = None,
        whole: bool = False,
    ) -> "DataConfig":
        """The labelled data to judge an encoder on: its pretraining data or another data set.

        Args:
            pretraining: `data` group of the pretraining run. If ``overrides`` names another data
                set, only the size and the statistics of the images carry over.
            overrides: settings that replace the pretraining run's, except those that are None.
            input_size: side in pixels of the images that the encoder takes, to which images of
                another data set are brought if ``pretraining`` does not say a size.
            whole: whether to leave images whole, for evaluations that crop them themselves.

        Raises:
            UserError: a key or a value is not accepted, or a path is missing.
        """
        given = {key: value for key, value in overrides.items() if value is not None}
        base = dict(pretraining)
        if "image_size" not in given and not whole:
            base["crop_size"] = judged_crop(pretraining, input_size)
        if given.get("dataset", base.get("dataset")) != base.get("dataset"):
            base = {key: base.get(key) for key in ("image_size", "crop_size", "mean", "std")}
            base["image_size"] = base["image_size"] or input_size
        elif "train_path" in given and base.get("val_path") == base.get("train_path"):
            base["val_path"] = None  # one place for both splits, which has moved
        if given.get("format") == "image_folder":
            base["label_column"] = None  # folders have no columns
        return cls._read({**base, "no_labels": False, "train_split": "train", **given})

    @property
    def in_parquet(self) -> bool:
        """Whether the images lie in Parquet files."""
        if self.dataset == "digits" or self.train_path is None:
            return False
        if self.format != "dali":
            return self.format == "parquet"
        path = given_path(self.train_path)
        return path.suffix == ".parquet" or any(
            next(path.glob(f"{folders}*.parquet"), None) for folders in ("", "*/", "*/*/")
        )

    @property
    def torchvision_files(self) -> bool:
        """Whether the set is read from torchvision's own files, which it can download."""
        return self.dataset in TORCHVISION_SETS and not self.in_parquet

    def path_of(self, split: str) -> str:
        """Where the images of `train` or `test` are looked for."""
        return str(self.val_path if split == "test" and self.val_path else self.train_path)

    def parts_of(self, split: str) -> list[str]:
        """The published parts that make up `train` or `test`."""
        return self.train_split.split("+") if split == "train" else [split]

    def _check_values(self) -> None:
        if self.fraction != -1 and not (is_number(self.fraction) and 0 < self.fraction <= 1):
            raise UserError(
                f"data.fraction is {self.fraction!r}; it must be above 0 and at most 1, or -1."
            )
        whole("data.num_workers", self.num_workers, 0)
        if self.image_size is not None:
            whole("data.image_size", self.image_size, 1)
        if self.crop_size is not None:
            whole("data.crop_size", self.crop_size, 1)
            if self.image_size is None or self.crop_size > self.image_size:
                raise UserError(
                    f"data.crop_size={self.crop_size} crops the centre of larger images: set "
                    f"data.image_size to at least that; it is {self.image_size}."
                )
        for name in ("no_labels", "download"):
            flag(f"data.{name}", getattr(self, name))
        if not isinstance(self.resident, bool) and self.resident != "auto":
            raise UserError(f"data.resident is {self.resident!r}; it must be true, false or auto.")
        number("data.max_resident_gib", self.max_resident_gib)
        for name in ("mean", "std"):
            if getattr(self, name) is not None:
                channel_statistics(f"data.{name}", getattr(self, name))

    def _check_labels(self) -> None:
        whole("data.labels_seed", self.labels_seed, 0)
        number("data.labels_seed", self.labels_seed, most=2**32 - 1)
        if self.labels is not None:
            object.__setattr__(self, "labels", str(LabelledPart.read(self.labels)))
            if self.no_labels:
                raise UserError("data.labels draws labels, which data.no_labels=true ignores.")
        elif self.labels_seed:
            raise UserError(
                f"data.labels_seed={self.labels_seed} draws nothing without data.labels, such as "
                "data.labels=1%."
            )

    def _check_paths(self) -> None:
        if self.label_column is not None and not self.in_parquet:
            raise UserError(
                f"data.label_column={self.label_column} is for Parquet files: set "
                "data.format=parquet and data.train_path."
            )
        if self.dataset == "digits" or self.torchvision_files:
            return  # these need no path, or are looked for and downloaded when they are loaded
        if self.train_path is None:
            raise UserError(
                f"data.train_path is missing: data={self.dataset} reads images from it."
            )
        for name in ("train_path", "val_path"):
            path = getattr(self, name)
            if path is not None and not _exists(path, allow_glob=self.in_parquet):
                raise UserError(f"data.{name} does not exist: '{path}'.")


def judged_crop(pretraining: Mapping[str, Any], input_size: int | None) -> int | None:
    """The centre on which an encoder of folders of images is judged, as the field does.

    An encoder of crops of 224 pixels from images of 256 is judged on the central 224 pixels of
    images whose shorter side is 256. Encoders of small images, such as CIFAR's, are judged on
    whole images.

    Args:
        pretraining: `data` group of the pretraining run.
        input_size: side in pixels of the images that the encoder takes.

    Returns:
        The side in pixels; None if images stay whole.
    """
    size = pretraining.get("image_size")
    in_folders = pretraining.get("dataset") in ("imagenet100", "custom")
    return input_size if in_folders and size and input_size and size > input_size else None


def _exists(path: str, *, allow_glob: bool) -> bool:
    expanded = given_path(path)
    return expanded.exists() or (allow_glob and bool(glob.glob(str(expanded))))
