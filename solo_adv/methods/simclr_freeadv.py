"""SimCLR-FreeAdv: SimCLR with free adversarial training of the second view (paper, Table 1)."""

from solo_adv.adversaries import Free
from solo_adv.methods.adversarial import AdversarialMethod
from solo_adv.methods.attacked_views import AttackedViews
from solo_adv.objectives import NTXent


class SimCLRFreeAdv(AdversarialMethod):
    """SimCLR-FreeAdv (https://arxiv.org/abs/2501.03507)."""

    objective_class = NTXent
    adversary_class = Free
    default_crops = "simclr"
    default_attacked_views = AttackedViews(views="second", forward="separate")
