"""Dual-stream contrast: NT-Xent among the clean views and, separately, among the attacked ones."""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from torch import Tensor

from solo_adv.objectives.base import Objective, Update
from solo_adv.objectives.contrastive import nt_xent
from solo_adv.support.checks import number
from solo_adv.support.gather import gather_batch


class DualLoss(NamedTuple):
    """Scalars in float32 (float64 for float64 embeddings)."""

    total: Tensor
    """The loss to minimise: the mean of the two terms."""
    clean_nt_xent: Tensor
    """NT-Xent of the clean views."""
    attacked_nt_xent: Tensor
    """NT-Xent of the attacked views."""


@dataclass(frozen=True, kw_only=True)
class DualNTXent(Objective):
    """Dual-stream adversarial contrastive learning. The field is a key of ``method_kwargs``.

    Both terms are computed over the global batch. An attack ascends the attacked views' own term,
    in which no clean view takes part.

    Source:
        Jiang et al. 2020, https://arxiv.org/abs/2010.13337, section 3.3 (A2A and S2S).
    """

    temperature: float = 0.5

    name: ClassVar[str] = "acl"
    output_dim: ClassVar[int] = 512
    needs_twins: ClassVar[bool] = True

    def __post_init__(self) -> None:
        number("method_kwargs.temperature", self.temperature, above_zero=True)

    @property
    def min_views(self) -> int:
        """Four: two crops, each clean and attacked."""
        return 4

    def __call__(self, update: Update) -> DualLoss:
        """The loss of the clean views (V', B, D) and the attacked views (V', B, D)."""
        clean, attacked = self._contrast(update.clean), self._contrast(update.perturbed)
        return DualLoss((clean + attacked) / 2, clean, attacked)

    def crafting(self, update: Update) -> Tensor:
        """The attacked views' term alone."""
        return self._contrast(update.perturbed)

    def _contrast(self, z: Tensor) -> Tensor:
        return nt_xent(gather_batch(z, dim=1), self.temperature).total
