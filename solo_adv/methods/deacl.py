"""DeACL, and two cheap variants: a student learns from a frozen teacher and is made robust."""

from typing import ClassVar

from solo_adv.adversaries import PGD, Adversary, Fast, Free
from solo_adv.methods.adversarial import AdversarialMethod
from solo_adv.methods.attacked_views import AttackedViews
from solo_adv.objectives import RobustDistillation


class DeACL(AdversarialMethod):
    """Decoupled adversarial contrastive learning (https://arxiv.org/abs/2207.10899)."""

    objective_class = RobustDistillation
    adversary_class: ClassVar[type[Adversary]] = PGD
    default_crops = "weak"
    default_attacked_views = AttackedViews(views="twins", forward="joint")


class DeACLFast(DeACL):
    """DeACL's objective with one large step from a noisy start (ours; not published elsewhere)."""

    adversary_class = Fast


class DeACLFreeAdv(DeACL):
    """DeACL's objective with free training's replays (ours; not published elsewhere)."""

    adversary_class = Free
