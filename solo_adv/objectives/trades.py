"""TRADES: cross-entropy on clean crops, and how far attacked predictions diverge from them."""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from solo_adv.objectives.base import Objective, Update
from solo_adv.support.checks import number


class TradesLoss(NamedTuple):
    """Scalars in float32 (float64 for float64 logits)."""

    total: Tensor
    """The loss to minimise: the cross-entropy plus ``beta`` times the divergence."""
    cross_entropy: Tensor
    """Mean cross-entropy of the clean crops; 0 if none has a label."""
    divergence: Tensor
    """Mean of KL(clean || attacked) over all crops."""


def divergence_of(clean: Tensor, attacked: Tensor) -> Tensor:
    """The mean over all crops of KL(p || q), p the clean and q the attacked crop's prediction.

    Args:
        clean: logits of clean crops (..., K).
        attacked: logits of the same crops under attack (..., K).
    """
    with torch.autocast(clean.device.type, enabled=False):
        p, q = (_exact(logits).log_softmax(-1) for logits in (clean, attacked))
        return F.kl_div(q, p, reduction="none", log_target=True).sum(-1).mean()


def trades_loss(clean: Tensor, attacked: Tensor, labels: Tensor, beta: float) -> TradesLoss:
    """The TRADES loss of clean and attacked crops.

    Args:
        clean: logits of clean crops (N, K).
        attacked: logits of the same crops under attack (N, K).
        labels: labels of the crops, long (N,); -1 where a crop has none, and then only the
            divergence counts for it.
        beta: weight of the divergence. The paper calls it 1/lambda; its code has 6.

    Source:
        Zhang et al. 2019, https://arxiv.org/abs/1901.08573, equation 5.
    """
    labelled = (labels >= 0).sum().clamp(min=1)
    with torch.autocast(clean.device.type, enabled=False):
        wrong = F.cross_entropy(_exact(clean), labels, ignore_index=-1, reduction="sum")
    cross_entropy = wrong / labelled
    divergence = divergence_of(clean, attacked)
    return TradesLoss(cross_entropy + beta * divergence, cross_entropy, divergence)


def _exact(logits: Tensor) -> Tensor:
    return logits if logits.dtype == torch.float64 else logits.float()


@dataclass(frozen=True, kw_only=True)
class PseudoTrades(Objective):
    """TRADES on pseudo-labels: the clusters of a teacher's features take the place of labels.

    It sees logits over the clusters, which a linear head computes from the backbone's features. An
    attack ascends the divergence alone.

    Attributes:
        beta: weight of the divergence.

    Source:
        DynACL++, https://arxiv.org/abs/2303.01289, section 3.3.
    """

    beta: float = 6.0

    name: ClassVar[str] = "trades"
    needs_twins: ClassVar[bool] = True
    needs_clusters: ClassVar[bool] = True
    projector: ClassVar[bool] = False

    def __post_init__(self) -> None:
        number("method_kwargs.beta", self.beta)

    @property
    def min_views(self) -> int:
        """Two: a crop, clean and attacked."""
        return 2

    @property
    def on_logits(self) -> bool:
        """It sees logits over the clusters."""
        return True

    def __call__(self, update: Update) -> TradesLoss:
        """The loss of clean and attacked logits (V', B, K); ``update.labels`` are the clusters."""
        clean, attacked = update.clean, update.perturbed
        labels = update.labels.repeat(len(clean))
        return trades_loss(clean.flatten(0, 1), attacked.flatten(0, 1), labels, self.beta)

    def crafting(self, update: Update) -> Tensor:
        """The divergence of the attacked logits from the clean ones."""
        return divergence_of(update.clean, update.perturbed)
