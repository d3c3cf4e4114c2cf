"""kNN accuracy of the backbone after each epoch, without training anything."""

from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from solo_adv.crops.images import central
from solo_adv.data import ImageSet
from solo_adv.evaluation.heads.knn import knn_accuracy
from solo_adv.evaluation.images import batches, select

MAX_TRAIN_IMAGES = 10_000
MAX_TEST_IMAGES = 2_000


class OnlineKNN(Callback):
    """Logs ``val_knn_acc1``, the kNN accuracy in percent on fixed subsets of both splits.

    Train images are cropped to the size of the test images. Every process computes the same figure
    on the same images.

    Args:
        k: number of neighbours.
        distance: ``cosine`` or ``euclidean``.
        batch_size: number of images in a forward pass.
    """

    def __init__(self, *, k: int, distance: str, batch_size: int = 500) -> None:
        self.k = k
        self.distance = distance
        self.batch_size = batch_size

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        labelled = data.train_set.labels >= 0
        if trainer.sanity_checking or not labelled.any():
            return
        train_set = data.train_set
        if not labelled.all():  # as in STL-10
            train_set = train_set.subset(labelled.nonzero().flatten().tolist())
        train = select(train_set, MAX_TRAIN_IMAGES, seed=0)
        test = select(data.test_set, MAX_TEST_IMAGES, seed=0)
        size = test[0][0].shape[1:]
        top1, _ = knn_accuracy(
            *self._features(pl_module, train, size),
            *self._features(pl_module, test, size),
            k=self.k,
            distance=self.distance,
        )
        pl_module.log("val_knn_acc1", 100 * top1, prog_bar=True, rank_zero_only=True)

    @torch.no_grad()
    def _features(
        self, method: Any, image_set: ImageSet, size: torch.Size
    ) -> tuple[Tensor, Tensor]:
        feats, labels = [], []
        for pixels, targets in batches(image_set, self.batch_size, method.device):
            images = method.from_pixels(central(pixels, *size))
            feats.append(method(images)["feats"].float())
            labels.append(targets)
        return torch.cat(feats), torch.cat(labels)
