"""EMP-SSL: many crops of each image, no adversary (Tong et al. 2023; paper, section 2.1.2)."""

from solo_adv.adversaries import Adversary
from solo_adv.methods.adversarial import AdversarialMethod
from solo_adv.objectives import EMP


class EMPSSL(AdversarialMethod):
    """EMP-SSL (https://arxiv.org/abs/2304.03977)."""

    objective_class = EMP
    adversary_class = Adversary
