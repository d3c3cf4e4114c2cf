"""Dual-stream contrast: NT-Xent among the clean views and, separately, among the attacked ones."""

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from torch import Tensor

from solo_adv.objectives.base import Objective, Update
from solo_adv.objectives.contrastive import nt_xent
from solo_adv.objectives.invariance import (
    DIVERGENCES,
    adversarial_invariance,
    standard_invariance,
)
from solo_adv.support.checks import choice, number, whole
from solo_adv.support.gather import gather_batch
from solo_adv.support.stages import start_of_stage


class DualLoss(NamedTuple):
    """Scalars in float32 (float64 for float64 embeddings)."""

    total: Tensor
    """The loss to minimise: the mean of the two terms of NT-Xent, weighted if the objective weights
    them, and half the weighted regularisation."""
    clean_nt_xent: Tensor
    """NT-Xent of the clean views."""
    attacked_nt_xent: Tensor
    """NT-Xent of the attacked views."""
    sir: Tensor
    """Standard invariant regularisation, before it is weighted; 0 if it is off."""
    air: Tensor
    """Adversarial invariant regularisation, before it is weighted; 0 if it is off."""


@dataclass(frozen=True, kw_only=True)
class DualNTXent(Objective):
    """Dual-stream adversarial contrastive learning. The fields are keys of ``method_kwargs``.

    All terms are computed over the global batch. An attack ascends the attacked views' own term,
    in which no clean view takes part.

    Attributes:
        temperature: divides the cosines.
        sir: weight of the standard invariant regularisation; AIR's paper has 0.5, 0 is off.
        air: weight of the adversarial invariant regularisation; AIR's paper has 0.5, 0 is off.
        divergence: how both compare two views: ``paper``, or ``code``; see ``invariance.py``.

    Source:
        Jiang et al. 2020, https://arxiv.org/abs/2010.13337, section 3.3 (A2A and S2S);
        Xu et al. 2023, https://arxiv.org/abs/2305.00374 (SIR and AIR).
    """

    temperature: float = 0.5
    sir: float = 0.0
    air: float = 0.0
    divergence: str = "paper"

    name: ClassVar[str] = "acl"
    output_dim: ClassVar[int] = 512
    needs_twins: ClassVar[bool] = True

    def __post_init__(self) -> None:
        number("method_kwargs.temperature", self.temperature, above_zero=True)
        number("method_kwargs.sir", self.sir)
        number("method_kwargs.air", self.air)
        choice("method_kwargs.divergence", self.divergence, DIVERGENCES)

    @property
    def wants_plain(self) -> bool:
        """Whether a regularisation compares with the images without augmentation."""
        return bool(self.sir or self.air)

    @property
    def min_views(self) -> int:
        """Four: two crops, each clean and attacked."""
        return 4

    def __call__(self, update: Update) -> DualLoss:
        """The loss of the clean views (V', B, D) and the attacked views (V', B, D)."""
        clean, attacked = self._contrast(update.clean), self._contrast(update.perturbed)
        weight = self.attacked_weight(update.progress)
        sir, air = self._invariance(update)
        total = ((2 - weight) * clean + weight * attacked + self.sir * sir + self.air * air) / 2
        return DualLoss(total, clean, attacked, sir, air)

    def _invariance(self, update: Update) -> tuple[Tensor, Tensor]:
        sir = air = update.z.new_zeros(())
        if update.plain is None:
            return sir, air
        plain = gather_batch(update.plain, dim=0)
        clean = gather_batch(update.clean, dim=1)
        options = (plain, self.temperature, self.divergence)
        if self.sir:
            sir = standard_invariance(clean, *options)
        if self.air:
            attacked = gather_batch(update.perturbed, dim=1)
            air = adversarial_invariance(attacked, clean, *options)
        return sir, air

    def attacked_weight(self, progress: float) -> float:
        """The weight of the attacked views' term, from 0 to 2, when ``progress`` is done."""
        return 1.0

    def crafting(self, update: Update) -> Tensor:
        """The attacked views' term alone."""
        return self._contrast(update.perturbed)

    def _contrast(self, z: Tensor) -> Tensor:
        return nt_xent(gather_batch(z, dim=1), self.temperature).total


@dataclass(frozen=True, kw_only=True)
class ShiftingDualNTXent(DualNTXent):
    """DynACL's form of :class:`DualNTXent`, whose weight shifts to the attacked views.

    The attacked views' term has the weight w, and the clean views' term 2 - w. At the progress p of
    the run, w = min(1 + shift * p, 2), where p is that at the start of the current stage.

    Attributes:
        shift: by how much w would grow over the whole run.
        stages: number of equal stages of the run in which w is constant; 0 changes it with every
            batch.

    Source:
        Luo et al. 2023, https://arxiv.org/abs/2303.01289; their ``train_DynACL.py``
        (``swap_param``, ``reload_frequency``).
    """

    shift: float = 2 / 3
    stages: int = 20

    name: ClassVar[str] = "dynacl"

    def __post_init__(self) -> None:
        super().__post_init__()
        number("method_kwargs.shift", self.shift)
        whole("method_kwargs.stages", self.stages, 0)

    def attacked_weight(self, progress: float) -> float:
        """The weight of the attacked views' term, from 1 to 2, when ``progress`` is done."""
        gained: Any = self.shift * start_of_stage(progress, self.stages)
        gained = gained.clamp(max=1.0) if isinstance(gained, Tensor) else min(gained, 1.0)
        weight: float = 1 + gained
        return weight
