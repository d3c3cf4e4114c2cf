"""Contrastive objectives: NT-Xent (SimCLR) and its supervised form, for any number of views.

Shapes: V views of B images, embeddings of dimension D, as one tensor ``z`` (V, B, D).
"""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from solo_adv.objectives.base import Objective, Update
from solo_adv.support.checks import choice, number
from solo_adv.support.errors import UserError
from solo_adv.support.gather import gather_batch


class ContrastiveLoss(NamedTuple):
    """Scalars in float32 (float64 for float64 embeddings)."""

    total: Tensor
    """The loss to minimise: the negative log-likelihood, averaged over all views of all images."""
    positive_similarity: Tensor
    """Mean cosine between a view and its positives, at most 1."""


def sup_con(z: Tensor, labels: Tensor, temperature: float = 0.07) -> ContrastiveLoss:
    """Supervised contrastive loss: views of the same class attract, all others repel.

    Each of the N = V*B views is an anchor i. Its positives P are the other views with its label.
    The loss is the mean over all anchors of ::

        -1/|P| sum_{p in P} log( exp(z_i.z_p / t) / sum_{a != i} exp(z_i.z_a / t) )

    It is computed in float32, or in float64 if ``z`` is float64, whatever autocast says.

    Args:
        z: embeddings (V, B, D), V >= 2. They are normalised to unit vectors here.
        labels: labels (B,). An image with label -1 is unlabelled, and only its own views are its
            positives.
        temperature: t, above 0. The paper prints no value; its code has 0.07.

    Raises:
        UserError: ``z`` is not (V, B, D) with V >= 2, or the settings are out of range.

    Source:
        Khosla et al. 2020, https://arxiv.org/abs/2004.11362, L_out; the reference's ``SupConLoss``.
    """
    if z.ndim != 3:
        raise UserError(f"Embeddings must have shape (V, B, D); got {tuple(z.shape)}.")
    if z.shape[0] < 2:
        raise UserError(
            "A contrastive objective needs at least 2 views of an image; got 1. "
            "Set crops.num_crops to 2 or more."
        )
    number("temperature", temperature, above_zero=True)
    views, batch, _ = z.shape
    with torch.autocast(z.device.type, enabled=False):
        z = F.normalize(z if z.dtype == torch.float64 else z.float(), dim=-1).flatten(0, 1)
        # Each unlabelled image gets a label that no other image has.
        own = -1 - torch.arange(batch, device=z.device)
        labels = torch.where(labels.to(z.device) < 0, own, labels.to(z.device)).repeat(views)
        itself = torch.eye(len(z), dtype=torch.bool, device=z.device)
        positive = (labels[:, None] == labels[None, :]) & ~itself
        similarity = z @ z.T
        logits = (similarity / temperature).masked_fill(itself, float("-inf"))
        log_likelihood = (logits - logits.logsumexp(dim=1, keepdim=True)).masked_fill(~positive, 0)
        count = positive.sum(dim=1)
        total = -(log_likelihood.sum(dim=1) / count).mean()
        agreement = (similarity.masked_fill(~positive, 0).sum(dim=1) / count).mean()
    return ContrastiveLoss(total, agreement)


def nt_xent(z: Tensor, temperature: float = 0.07) -> ContrastiveLoss:
    """SimCLR's loss for V >= 2 views: :func:`sup_con` where every image is its own class.

    Args:
        z: embeddings (V, B, D), V >= 2. They are normalised to unit vectors here.
        temperature: above 0. The paper prints no value; its code has 0.07.

    Raises:
        UserError: ``z`` is not (V, B, D) with V >= 2, or the temperature is out of range.

    Source:
        Paper section 2.1.1; Chen et al. 2020, https://arxiv.org/abs/2002.05709. The sum in the
        denominator leaves out the anchor itself (one version of the paper prints it included).
    """
    labels = torch.arange(z.shape[1] if z.ndim == 3 else 0, device=z.device)
    return sup_con(z, labels, temperature)


@dataclass(frozen=True, kw_only=True)
class NTXent(Objective):
    """:func:`nt_xent` of the global batch. The fields are keys of ``method_kwargs``."""

    temperature: float = 0.07

    name: ClassVar[str] = "nt_xent"

    def __post_init__(self) -> None:
        number("method_kwargs.temperature", self.temperature, above_zero=True)

    @property
    def min_views(self) -> int:
        """Two, because the loss compares views of an image."""
        return 2

    def __call__(self, update: Update) -> ContrastiveLoss:
        """The loss of the embeddings (V, B, D) of all processes together."""
        return nt_xent(gather_batch(update.z, dim=1), self.temperature)


class CrossEntropyLoss(NamedTuple):
    """Scalars, in float32."""

    total: Tensor
    """The loss to minimise: the mean cross-entropy over all views of the labelled images."""
    accuracy: Tensor
    """Fraction of these views that are classified correctly."""


@dataclass(frozen=True, kw_only=True)
class Supervised(Objective):
    """A loss that learns from labels, for the paper's supervised comparison.

    The fields are keys of ``method_kwargs``. The reference code uses the supervised contrastive
    loss (``sup_con``). The training time that the paper prints fits only ``cross_entropy`` on one
    view, so the paper's row was most likely trained with that.
    """

    loss: str = "sup_con"
    temperature: float = 0.07

    name: ClassVar[str] = "supervised"
    needs_labels: ClassVar[bool] = True

    def __post_init__(self) -> None:
        choice("method_kwargs.loss", self.loss, ("sup_con", "cross_entropy"))
        number("method_kwargs.temperature", self.temperature, above_zero=True)

    @property
    def on_logits(self) -> bool:
        """Whether ``z`` are class logits (V, B, K): true for cross-entropy."""
        return self.loss == "cross_entropy"

    @property
    def min_views(self) -> int:
        """One for cross-entropy, which compares no views; two for ``sup_con``."""
        return 1 if self.on_logits else 2

    def __call__(self, update: Update) -> ContrastiveLoss | CrossEntropyLoss:
        """The loss of the embeddings (V, B, D) or logits (V, B, K) and the labels (B,)."""
        if self.on_logits:
            return _cross_entropy(update.z, update.labels)
        z, labels = gather_batch(update.z, dim=1), gather_batch(update.labels, dim=0)
        return sup_con(z, labels, self.temperature)


def _cross_entropy(logits: Tensor, targets: Tensor) -> CrossEntropyLoss:
    # Nothing is gathered here: the loss is a mean over samples, so DDP's average of the gradients
    # is already that of the global batch.
    targets = targets.repeat(logits.shape[0])
    logits = logits.flatten(0, 1).float()
    labelled = (targets >= 0).sum().clamp(min=1)
    total = F.cross_entropy(logits, targets, ignore_index=-1, reduction="sum") / labelled
    return CrossEntropyLoss(total, (logits.detach().argmax(1) == targets).sum() / labelled)
