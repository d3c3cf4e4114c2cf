"""Robust SimCLR: SimCLR against PGD on the second view (paper, section 2.2.1)."""

from solo_adv.adversaries import PGD
from solo_adv.methods.adversarial import AdversarialMethod
from solo_adv.methods.attacked_views import AttackedViews
from solo_adv.objectives import NTXent


class RobustSimCLR(AdversarialMethod):
    """Adversarial SimCLR, the paper's comparison (https://arxiv.org/abs/2501.03507)."""

    objective_class = NTXent
    adversary_class = PGD
    default_crops = "simclr"
    default_attacked_views = AttackedViews(views="second", forward="separate", pair="self")
