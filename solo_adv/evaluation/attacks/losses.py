"""The losses that the attacks of an evaluation ascend."""

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn

from solo_adv.adversaries import LossOf
from solo_adv.support.errors import UserError


def cross_entropy_of(classifier: nn.Module, labels: Tensor) -> LossOf:
    """The cross-entropy, which PGD ascends in the literature.

    Where the logits are small, it rises by a push towards all other classes at once, and an attack
    that ascends it misses images that a push towards one of them would break.

    It is the sum, not the mean, over the images, so that an image's gradient does not depend on the
    size of the batch.
    """

    def loss_of(images: Tensor) -> Tensor:
        loss = F.cross_entropy(classifier(images), labels, reduction="sum")
        return _with_gradient(loss, images)

    return loss_of


def margin_of(classifier: nn.Module, labels: Tensor) -> LossOf:
    """How far the largest logit of another class is above that of the true one.

    Multiplying all logits by a number does not change the direction in which it rises. It is the
    sum over the images, too.

    Source:
        Carlini and Wagner 2017, https://arxiv.org/abs/1608.04644, section V, f6 without its bound.
    """

    def loss_of(images: Tensor) -> Tensor:
        logits = classifier(images)
        own = labels.unsqueeze(1)
        others = logits.scatter(1, own, float("-inf")).amax(dim=1)
        return _with_gradient((others - logits.gather(1, own).squeeze(1)).sum(), images)

    return loss_of


AttackLoss = Callable[[nn.Module, Tensor], LossOf]
"""From a classifier and the labels of its images to the loss that an attack ascends."""

LOSSES: dict[str, AttackLoss] = {"cross_entropy": cross_entropy_of, "margin": margin_of}
"""The losses by name."""

USUAL_LOSS = "cross_entropy"
"""The loss of an attack whose name says nothing else."""

CHOICES: dict[str, tuple[str, ...]] = {**{name: (name,) for name in LOSSES}, "both": tuple(LOSSES)}
"""What a user may choose, and the losses that are ascended in turn."""


def _with_gradient(loss: Tensor, images: Tensor) -> Tensor:
    if images.requires_grad and not loss.requires_grad:
        raise UserError(
            "The classifier's outputs have no gradient with respect to the image (a detach, "
            "no_grad or conversion inside), so that no attack can follow it: remove that."
        )
    return loss
