"""Robust EMP-SSL: EMP-SSL on crops perturbed by PGD (paper, section 2.2.2)."""

from solo_adv.adversaries import PGD
from solo_adv.methods.adversarial import AdversarialMethod
from solo_adv.objectives import EMP


class RobustEMP(AdversarialMethod):
    """Robust EMP-SSL (https://arxiv.org/abs/2501.03507)."""

    objective_class = EMP
    adversary_class = PGD
