"""DynACL: ACL with weakening augmentation, a momentum encoder and a weight that shifts."""

from solo_adv.adversaries import PGD
from solo_adv.methods.adversarial import AdversarialMethod
from solo_adv.methods.attacked_views import AttackedViews
from solo_adv.methods.averaging import Averaging
from solo_adv.objectives import ShiftingDualNTXent


class DynACL(AdversarialMethod):
    """DynACL (Luo et al. 2023, https://arxiv.org/abs/2303.01289).

    Its config has the schedule of the augmentation (``crops.anneal``).
    """

    objective_class = ShiftingDualNTXent
    adversary_class = PGD
    default_crops = "simclr"
    default_attacked_views = AttackedViews(views="twins", forward="separate")
    default_averaging = Averaging(decay=0.99, views="second")
