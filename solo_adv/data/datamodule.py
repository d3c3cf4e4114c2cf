"""The Lightning data module that loads the images and makes the loaders."""

from collections.abc import Iterable
from dataclasses import replace
from importlib import import_module
from typing import Any

import torch
from lightning.pytorch import LightningDataModule

from solo_adv.crops import CropOptions, CropSpec
from solo_adv.data.config import DataConfig, judged_crop
from solo_adv.data.datasets import READERS, SPLITS, load_split
from solo_adv.data.image_set import ImageSet
from solo_adv.data.loaders import Batch, ResidentLoader, streaming_loader
from solo_adv.support.errors import UserError


class ImageDataModule(LightningDataModule):
    """Train and test split as batches of whole uint8 images, in solo-learn's shapes.

    Resident images are moved to the trainer's device once. Every process gets its own part of
    the images.

    Args:
        config: which images to load, and how.
        batch_size: number of images in the batch of each process.
        seed: seed for the order of the train images, 0 to 2**32 - 1.
        crops: the crops that training draws, and options for how. ``format=dali`` draws them here;
            test images are cropped to their size as evaluations crop them.
        whole_train: whether train images stay whole although ``config.crop_size`` is set.

    Attributes:
        train_set: the train split, once ``setup`` has run.
        test_set: the test split, or None if there is none.
    """

    train_set: ImageSet
    test_set: ImageSet | None

    def __init__(
        self,
        config: DataConfig,
        *,
        batch_size: int,
        seed: int,
        crops: tuple[CropSpec, CropOptions] | None = None,
        whole_train: bool = False,
    ) -> None:
        super().__init__()
        self.crops = crops
        self.whole_train = whole_train
        self.config = config
        self.batch_size = batch_size
        self.seed = seed
        self._is_set_up = False

    def prepare_data(self) -> None:
        """Download missing images. Lightning calls this in one process on each machine.

        Raises:
            UserError: the data set is not on disk and cannot be downloaded.
        """
        if self.config.torchvision_files:
            for split in SPLITS:
                import_module(READERS[self.config.dataset]).read(self.config, split)

    def setup(self, stage: str | None = None) -> None:
        """Load both splits. Later calls do nothing.

        Raises:
            UserError: the images cannot be found or read, or there are fewer than one batch.
        """
        if self._is_set_up:
            return
        whole = replace(self.config, crop_size=None) if self.whole_train else self.config
        train_set = load_split(whole, "train")
        assert train_set is not None
        self.train_set = train_set
        self._check_batch_size()
        self.test_set = load_split(self._as_judged(), "test")
        self._is_set_up = True

    def _as_judged(self) -> DataConfig:
        """The config with the size to which evaluations will bring the images."""
        if self.crops is None:
            return self.config
        spec, _ = self.crops
        return replace(self.config, crop_size=judged_crop(vars(self.config), spec.size))

    @property
    def num_classes(self) -> int:
        """Number of classes of both splits, 1 if unlabelled."""
        return max(s.num_classes for s in (self.train_set, self.test_set) if s is not None)

    def train_dataloader(self) -> Iterable[Batch]:
        """Shuffled batches ``[indexes, [images], targets]``, without an incomplete last batch.

        With ``format=dali`` and crops the batches are ``[indexes, views, targets]``, where
        ``views`` are finished crops.

        Raises:
            UserError: a batch is larger than the part of the train split that a process gets.
        """
        self._check_batch_size()
        return self._loader(self.train_set, train=True)

    def val_dataloader(self) -> Iterable[Batch]:
        """Batches ``[images, targets]`` in stored order; none without a labelled test split."""
        if self.test_set is None or not self.test_set.labelled:
            return []
        return self._loader(self.test_set, train=False)

    def _check_batch_size(self) -> None:
        images, processes = len(self.train_set), self._world_size
        if self.batch_size > images // processes:
            among = f" among {processes} processes" if processes > 1 else ""
            raise UserError(
                f"A batch of {self.batch_size} images is larger than the train split, which has"
                f" {images} images{among}; set optimizer.batch_size to at most"
                f" {images // processes}."
            )

    @property
    def _world_size(self) -> int:
        return 1 if self.trainer is None else self.trainer.world_size

    def _loader(self, image_set: ImageSet, *, train: bool) -> Iterable[Batch]:
        device = torch.device("cpu")
        rank = 0
        if self.trainer is not None:
            device, rank = self.trainer.strategy.root_device, self.trainer.global_rank
        order: dict[str, Any] = {
            "batch_size": self.batch_size,
            "shuffle": train,
            "drop_last": train,
            "seed": self.seed,
            "rank": rank,
            "world_size": self._world_size,
        }
        workers = self.config.num_workers
        if train and self.crops is not None and self.config.format == "dali":
            from solo_adv.data.dali import DaliLoader  # noqa: PLC0415

            spec, options = self.crops
            threads = workers or torch.get_num_threads()
            return DaliLoader(
                image_set, spec, options=options, device=device, threads=threads, **order
            )
        if image_set.resident:
            images, labels = image_set.images, image_set.labels
            return ResidentLoader(images, labels, device=device, indexed=train, **order)
        return streaming_loader(
            image_set, num_workers=workers, device=device, indexed=train, **order
        )
