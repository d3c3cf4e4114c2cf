"""Supervised-FreeAdv: free adversarial training that learns from labels (paper, Table 4)."""

from solo_adv.adversaries import Free
from solo_adv.methods.adversarial import AdversarialMethod
from solo_adv.methods.attacked_views import AttackedViews
from solo_adv.objectives import Supervised


class SupervisedFreeAdv(AdversarialMethod):
    """The paper's supervised comparison. ``method_kwargs.loss`` chooses its loss."""

    objective_class = Supervised
    adversary_class = Free
    default_crops = "simclr"
    default_attacked_views = AttackedViews(views="second", forward="separate")
