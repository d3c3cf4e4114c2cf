"""DeACL: a student learns from a frozen teacher and is made robust at the same time."""

from solo_adv.adversaries import PGD
from solo_adv.methods.adversarial import AdversarialMethod
from solo_adv.methods.attacked_views import AttackedViews
from solo_adv.objectives import RobustDistillation


class DeACL(AdversarialMethod):
    """Decoupled adversarial contrastive learning (https://arxiv.org/abs/2207.10899)."""

    objective_class = RobustDistillation
    adversary_class = PGD
    default_crops = "weak"
    default_attacked_views = AttackedViews(views="twins", forward="joint")
