"""DynACL++: a second stage that trains on the pseudo-labels of a finished run."""

from solo_adv.adversaries import PGD
from solo_adv.methods.adversarial import AdversarialMethod
from solo_adv.methods.attacked_views import AttackedViews
from solo_adv.objectives import PseudoTrades


class DynACLPlusPlus(AdversarialMethod):
    """TRADES on the clusters of a finished run's features (https://arxiv.org/abs/2303.01289)."""

    objective_class = PseudoTrades
    adversary_class = PGD
    default_crops = "weak"
    default_attacked_views = AttackedViews(views="twins", forward="separate")
