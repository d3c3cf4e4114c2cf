"""SimCLR: a contrastive loss of two views without adversary (paper, section 2.1.1)."""

from solo_adv.adversaries import Adversary
from solo_adv.methods.adversarial import AdversarialMethod
from solo_adv.methods.attacked_views import AttackedViews
from solo_adv.objectives import NTXent


class SimCLR(AdversarialMethod):
    """SimCLR (https://arxiv.org/abs/2002.05709). Under solo-learn, solo-learn's own is used."""

    objective_class = NTXent
    adversary_class = Adversary
    default_crops = "simclr"
    default_attacked_views = AttackedViews(forward="by_view")
