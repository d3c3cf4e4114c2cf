"""The losses of adversarial fine-tuning: what the attack ascends, and what an update descends."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from solo_adv.adversaries import LossOf
from solo_adv.data import ImageSet
from solo_adv.evaluation.attacks.losses import cross_entropy_of
from solo_adv.evaluation.heads.low_rank import LowRankBranch
from solo_adv.evaluation.images import batches
from solo_adv.objectives.trades import divergence_of, trades_loss


class FinetuneLoss:
    """The cross-entropy of attacked images, which the attack ascends, too.

    Args:
        model: the encoder, then the head.
    """

    def __init__(self, model: nn.Sequential) -> None:
        self.model = model

    @property
    def own_modules(self) -> list[nn.Module]:
        """Modules that are trained with the model and left out of the result."""
        return []

    def crafting(self, pixels: Tensor, labels: Tensor) -> LossOf:
        """The loss that the attack on pixels (N, 3, H, W) ascends."""
        return cross_entropy_of(self.model, labels)

    def __call__(self, pixels: Tensor, attacked: Tensor, labels: Tensor) -> Tensor:
        """The mean loss of an update, on clean and attacked pixels (N, 3, H, W)."""
        return F.cross_entropy(self.model(attacked), labels)

    def look(self, train_set: ImageSet, batch_size: int, device: torch.device | str) -> None:
        """Look at the training images, which happens four times an epoch."""


class Trades(FinetuneLoss):
    """TRADES: the attack ascends the divergence of attacked from clean predictions."""

    def __init__(self, model: nn.Sequential, beta: float) -> None:
        super().__init__(model)
        self.beta = beta

    def crafting(self, pixels: Tensor, labels: Tensor) -> LossOf:
        with torch.no_grad():
            clean = self.model(pixels)
        return lambda attacked: divergence_of(clean, self.model(attacked))

    def __call__(self, pixels: Tensor, attacked: Tensor, labels: Tensor) -> Tensor:
        return trades_loss(self.model(pixels), self.model(attacked), labels, self.beta).total


class AutoLoRa(FinetuneLoss):
    """AutoLoRa: a low-rank branch takes the clean loss, the encoder itself the attacked one.

    With the share s of training images that the clean branch classifies correctly, the loss is
    (1 - s) times the cross-entropy of the clean branch, plus s times that of attacked images, plus
    ``beta`` * s times the divergence of attacked predictions from those of the clean branch. The
    attack ascends the cross-entropy.

    Source:
        Xu et al. 2024, https://arxiv.org/abs/2310.01818, equations 4, 6 and 7.
    """

    def __init__(self, model: nn.Sequential, beta: float, rank: int) -> None:
        super().__init__(model)
        self.beta = beta
        self.branch = LowRankBranch(model[0], rank)
        self.correct_share = 0.0
        """The share of training images that the clean branch classified at the last look."""

    @property
    def own_modules(self) -> list[nn.Module]:
        return [self.branch]

    def clean(self, pixels: Tensor) -> Tensor:
        """The logits of the clean branch."""
        logits: Tensor = self.model[1](self.branch(self.model[0], pixels))
        return logits

    def __call__(self, pixels: Tensor, attacked: Tensor, labels: Tensor) -> Tensor:
        natural, robust = self.clean(pixels), self.model(attacked)
        share = self.correct_share
        return (
            (1 - share) * F.cross_entropy(natural, labels)
            + share * F.cross_entropy(robust, labels)
            + self.beta * share * divergence_of(natural, robust)
        )

    @torch.no_grad()
    def look(self, train_set: ImageSet, batch_size: int, device: torch.device | str) -> None:
        self.model.eval()
        stream = batches(train_set, batch_size, device)
        correct = sum(int((self.clean(x).argmax(1) == y).sum()) for x, y in stream)
        self.model.train()
        self.correct_share = correct / len(train_set)
