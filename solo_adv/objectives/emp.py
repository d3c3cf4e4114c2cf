"""The EMP-SSL objective, which pulls the crops of an image together and spreads images apart.

Shapes: V views (crops) of B images, embeddings of dimension D, as one tensor ``z`` (V, B, D).
"""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from solo_adv.objectives.base import Objective, Update
from solo_adv.support.checks import number
from solo_adv.support.errors import UserError
from solo_adv.support.gather import gather_batch


class EMPLoss(NamedTuple):
    """The terms of :func:`emp_loss`: scalars in float32 (float64 for float64 embeddings)."""

    total: Tensor
    """The loss to minimise: ``-(invariance_weight * invariance + coding_rate)``."""
    invariance: Tensor
    """Mean cosine between each crop's embedding and the mean embedding of its image, at most 1."""
    coding_rate: Tensor
    """Mean over views of the total coding rate, in nats: at least 0, and larger the wider the
    embeddings spread."""


def total_coding_rate(z: Tensor, *, tcr_eps: float = 0.2) -> Tensor:
    """Coding rate ``1/2 logdet(I + D / (B tcr_eps) z^T z)`` of each batch of embeddings.

    A batched Cholesky factorisation computes it from the smaller of the two Gram matrices, D x D or
    B x B. Both give the same determinant (Sylvester's identity).

    Args:
        z: embeddings (..., B, D) in float32 or float64. Lower precisions are not enough.
        tcr_eps: squared distortion, the epsilon^2 of the paper's formula. The reference code
            calls it ``eps`` and does not square it.

    Returns:
        Coding rates (...,), in nats.

    Source:
        Paper section 2.1.2 (regularisation term R); Tong et al. 2023, https://arxiv.org/abs/2304.03977
    """
    batch, dim = z.shape[-2:]
    gram = z @ z.mT if batch <= dim else z.mT @ z
    scaled = gram * (dim / (batch * tcr_eps))
    scaled.diagonal(dim1=-2, dim2=-1).add_(1.0)
    factor = torch.linalg.cholesky_ex(scaled).L
    # logdet(A) = 2 sum log diag(L), and the coding rate is half of it.
    return factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)


def emp_loss(z: Tensor, invariance_weight: float = 200.0, tcr_eps: float = 0.2) -> EMPLoss:
    """EMP-SSL loss of V views of B images.

    It is computed in float32, or in float64 if ``z`` is float64, whatever autocast says.

    Args:
        z: embeddings (V, B, D), V >= 2, view-major. The methods pass unit vectors. The coding rate
            depends on the length of the vectors, so normalise them if you call this directly.
        invariance_weight: weight of the invariance term. The paper prints no value; its code has
            200, which balances the coding rate of a batch of 100 images.
        tcr_eps: squared distortion, above 0; see :func:`total_coding_rate`.

    Returns:
        ``total``, which is to be minimised, ``invariance`` and ``coding_rate``. The paper prints
        the sum without its sign. Both terms are to be *maximised*, so the total is the negative of
        the sum.

    Raises:
        UserError: ``z`` is not (V, B, D) with V >= 2, or the settings are out of range.

    Source:
        Paper section 2.1.2; Tong et al. 2023, https://arxiv.org/abs/2304.03977, section 3.
    """
    if z.ndim != 3:
        raise UserError(f"emp_loss takes embeddings of shape (V, B, D); got {tuple(z.shape)}.")
    if z.shape[0] < 2:
        raise UserError(
            "The EMP objective compares the crops of an image and needs at least 2; got 1. "
            "Set crops.num_crops to 2 or more (the paper uses 16)."
        )
    if not tcr_eps > 0:
        raise UserError(f"tcr_eps must be positive; got {tcr_eps}.")
    with torch.autocast(z.device.type, enabled=False):
        z = z if z.dtype == torch.float64 else z.float()
        invariance = F.cosine_similarity(z, z.mean(dim=0, keepdim=True), dim=-1).mean()
        coding_rate = total_coding_rate(z, tcr_eps=tcr_eps).mean()
        return EMPLoss(-(invariance_weight * invariance + coding_rate), invariance, coding_rate)


@dataclass(frozen=True, kw_only=True)
class EMP(Objective):
    """:func:`emp_loss` of the global batch. The fields are keys of ``method_kwargs``."""

    invariance_weight: float = 200.0
    tcr_eps: float = 0.2

    name: ClassVar[str] = "emp"
    output_dim: ClassVar[int] = 1024

    def __post_init__(self) -> None:
        number("method_kwargs.invariance_weight", self.invariance_weight)
        number("method_kwargs.tcr_eps", self.tcr_eps, above_zero=True)

    @property
    def min_views(self) -> int:
        """Two, because the loss compares the crops of an image."""
        return 2

    def __call__(self, update: Update) -> EMPLoss:
        """The loss of the embeddings (V, B, D) of all processes together."""
        return emp_loss(gather_batch(update.z, dim=1), self.invariance_weight, self.tcr_eps)
