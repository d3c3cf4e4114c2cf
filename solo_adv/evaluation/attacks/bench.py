"""The arguments that all functions which judge a classifier share."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from solo_adv.data import ImageSet
from solo_adv.encoders.classifier import require_eval
from solo_adv.evaluation.attacks.crafting import IN_FLOAT32, Crafting
from solo_adv.evaluation.images import Batch, a_few, batches, my_batches, select
from solo_adv.support.errors import UserError


@dataclass(frozen=True)
class Bench:
    """A classifier, the images on which it is judged, and how to compute.

    Args:
        classifier: network in eval mode on ``device``, from pixels (N, 3, H, W) in [0, 1] to logits
            (N, K). For `CropStacks` it takes stacks of crops (N, 3 n, size, size) instead.
        images: labelled images.
        batch_size: number of images in a forward pass.
        device: where to compute.
        seed: seed of everything that is drawn at random.
        crafting: how the passes of attacks are computed. Verdicts are computed in float32.
    """

    classifier: nn.Module
    images: ImageSet
    batch_size: int = 512
    device: torch.device | str = "cpu"
    seed: int = 5
    crafting: Crafting = IN_FLOAT32

    def drawn(self, count: int | None) -> "Bench":
        """The same bench with ``count`` of the images, drawn by the seed alone; None keeps all.

        Raises:
            UserError: the count is not a whole number of at least 1.
        """
        return replace(self, images=select(self.images, count, self.seed))

    def check(self) -> None:
        """Refuse a classifier or a set of images that cannot be judged.

        Raises:
            UserError: part of the classifier is in training mode, or there is no image.
        """
        require_eval(self.classifier)
        if len(self.images) == 0:
            raise UserError("There is no image to judge: the test set is empty.")

    def network_of_attacks(self, *, precision: str | None = None) -> nn.Module:
        """The network that attacks use instead of the classifier, as ``crafting`` says.

        Args:
            precision: takes the place of that of ``crafting``.
        """
        crafting = replace(self.crafting, precision=precision or self.crafting.precision)
        return crafting.network(self.classifier, a_few(self.images, self.device))

    def batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield all images with their labels."""
        return batches(self.images, self.batch_size, self.device)

    def my_batches(self, places: Tensor | None = None, *, first: int = 0) -> Iterator[Batch]:
        """Yield this process's share of the images at ``places``.

        Args:
            places: indices of images, long (M,); None takes all images.
            first: number of the first batch to yield; the ones before it are left out.
        """
        if places is None:
            places = torch.arange(len(self.images))
        return my_batches(self.images, places, self.batch_size, self.device, first=first)
