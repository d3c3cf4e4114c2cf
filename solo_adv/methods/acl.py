"""ACL: adversarial contrastive learning with a clean and an attacked stream."""

from solo_adv.adversaries import PGD
from solo_adv.methods.adversarial import AdversarialMethod
from solo_adv.methods.attacked_views import AttackedViews
from solo_adv.objectives import DualNTXent


class ACL(AdversarialMethod):
    """Dual-stream ACL (Jiang et al. 2020, https://arxiv.org/abs/2010.13337)."""

    objective_class = DualNTXent
    adversary_class = PGD
    default_crops = "simclr"
    default_attacked_views = AttackedViews(views="twins", forward="separate")
