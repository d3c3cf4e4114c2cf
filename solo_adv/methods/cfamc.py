"""CF-AMC-SSL: EMP-SSL with free adversarial training (paper, Algorithm 1)."""

from solo_adv.adversaries import Free
from solo_adv.methods.adversarial import AdversarialMethod
from solo_adv.objectives import EMP


class CFAMC(AdversarialMethod):
    """Cost-free adversarial multi-crop SSL (https://arxiv.org/abs/2501.03507)."""

    objective_class = EMP
    adversary_class = Free
