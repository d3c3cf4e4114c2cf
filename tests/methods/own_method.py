"""A method outside the package, which ``python own_method.py ... method=own`` trains."""

from dataclasses import dataclass, replace
from typing import ClassVar, NamedTuple

import torch.nn.functional as F
from torch import Tensor

import solo_adv
from solo_adv.adversaries import PGD
from solo_adv.commands import pretrain
from solo_adv.crops import CropSpec
from solo_adv.methods import AdversarialMethod
from solo_adv.methods.attacked_views import AttackedViews
from solo_adv.objectives import Objective, Update


def cosine(one: Tensor, other: Tensor) -> Tensor:
    return F.cosine_similarity(one, other, -1).mean()


class DistilLoss(NamedTuple):
    total: Tensor
    agreement: Tensor


@dataclass(frozen=True, kw_only=True)
class Distil(Objective):
    consistency: float = 2.0

    name: ClassVar[str] = "distil"
    needs_teacher: ClassVar[bool] = True
    projector: ClassVar[bool] = False

    def __call__(self, update: Update) -> DistilLoss:
        agreement = cosine(update.clean, update.teacher[: len(update.clean)])
        consistency = cosine(update.perturbed, update.clean)
        return DistilLoss(-agreement - self.consistency * consistency, agreement)

    def crafting(self, update: Update) -> Tensor:
        return -cosine(update.perturbed, update.teacher[: len(update.perturbed)])


class OwnMethod(AdversarialMethod):
    objective_class = Distil
    adversary_class = PGD
    default_crops = "simclr"
    default_attacked_views = AttackedViews(views="twins", forward="separate")

    def spec_at(self, progress: float) -> CropSpec:
        smallest, jitter = 0.08 + 0.8 * progress, 0.8 - 0.8 * progress
        return replace(self.spec, scale=(smallest, 1.0), jitter_prob=jitter)


solo_adv.add_method("own", OwnMethod)

if __name__ == "__main__":
    pretrain.main()
