"""Robust distillation: follow a frozen teacher, on clean crops or under attack."""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from solo_adv.objectives.base import Objective, Update
from solo_adv.support.checks import number


class DistillationLoss(NamedTuple):
    """Scalars in float32 (float64 for float64 features)."""

    total: Tensor
    """The loss to minimise: minus the agreement, minus ``consistency`` times the consistency."""
    agreement: Tensor
    """Mean cosine between the student's and the teacher's features of a clean crop."""
    consistency: Tensor
    """Mean cosine between the student's features of an attacked crop and of the clean one."""


@dataclass(frozen=True, kw_only=True)
class RobustDistillation(Objective):
    """Decoupled adversarial contrastive learning. The field is a key of ``method_kwargs``.

    It sees the backbone's features, without a projector. An attack drives the student's features of
    the attacked crop away from the teacher's features of the clean one. With ``update.center`` all
    features are compared after subtracting it, which tells features that are never negative better
    apart.

    Attributes:
        consistency: weight of the second term. The paper and its code have 2.

    Source:
        Zhang et al. 2022, https://arxiv.org/abs/2207.10899, section 3.2, equations 4 and 5.
    """

    consistency: float = 2.0

    name: ClassVar[str] = "deacl"
    needs_teacher: ClassVar[bool] = True
    needs_twins: ClassVar[bool] = True
    projector: ClassVar[bool] = False

    def __post_init__(self) -> None:
        number("method_kwargs.consistency", self.consistency)

    @property
    def min_views(self) -> int:
        """Two: a crop, clean and attacked."""
        return 2

    def __call__(self, update: Update) -> DistillationLoss:
        """The loss of clean and attacked features (V', B, D) and the teacher's (2V', B, D)."""
        assert update.teacher is not None
        center = update.center
        agreement = _cosine(update.clean, update.teacher[: len(update.clean)], center)
        consistency = _cosine(update.perturbed, update.clean, center)
        return DistillationLoss(-agreement - self.consistency * consistency, agreement, consistency)

    def crafting(self, update: Update) -> Tensor:
        """Minus the mean cosine between attacked features and the teacher's of the clean crop."""
        assert update.teacher is not None
        taught = update.teacher[-len(update.perturbed) :]
        return -_cosine(update.perturbed, taught, update.center)


class FeatureDistanceLoss(NamedTuple):
    """Scalars in float32 (float64 for float64 features)."""

    total: Tensor
    """The loss to minimise: the mean squared distance."""
    cosine: Tensor
    """Mean cosine between the student's features and the teacher's, to log."""


@dataclass(frozen=True, kw_only=True)
class FeatureDistance(Objective):
    """FARE: features under attack stay where the original encoder has those of the clean crop.

    It sees the backbone's features, without a projector. An attack ascends the same distance.

    Source:
        Schlarmann et al. 2024, https://arxiv.org/abs/2402.12336, section 3.2, equation 3.
    """

    name: ClassVar[str] = "fare"
    needs_teacher: ClassVar[bool] = True
    projector: ClassVar[bool] = False

    def __call__(self, update: Update) -> FeatureDistanceLoss:
        """The mean over all crops of ||z - teacher||^2, for features (V, B, D) of both."""
        assert update.teacher is not None
        distance = squared_distance(update.z, update.teacher)
        return FeatureDistanceLoss(distance, _cosine(update.z.detach(), update.teacher))

    def crafting(self, update: Update) -> Tensor:
        """The distance alone."""
        assert update.teacher is not None
        return squared_distance(update.z, update.teacher)


def squared_distance(one: Tensor, other: Tensor) -> Tensor:
    """Mean over all crops of the squared L2 distance between features (..., D).

    It is a scalar in float32 (float64 for float64 features), a sum over D.
    """
    with torch.autocast(one.device.type, enabled=False):
        exact = torch.float64 if one.dtype == torch.float64 else torch.float32
        return (one.to(exact) - other.to(exact)).square().sum(dim=-1).mean()


def _cosine(one: Tensor, other: Tensor, center: Tensor | None = None) -> Tensor:
    """Mean over all crops of the cosine between features (..., D), seen from ``center`` (D,)."""
    with torch.autocast(one.device.type, enabled=False):
        exact = torch.float64 if one.dtype == torch.float64 else torch.float32
        one, other = one.to(exact), other.to(exact)
        if center is not None:
            one, other = one - center, other - center
        return F.cosine_similarity(one, other, dim=-1).mean()
