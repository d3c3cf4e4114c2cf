"""CF-AMC-SSL: EMP-SSL with free adversarial training (paper, Algorithm 1)."""

from typing import ClassVar

from solo_adv.adversaries import Free
from solo_adv.methods.adversarial import AdversarialMethod
from solo_adv.methods.completion import OwnPresets, Replacement
from solo_adv.objectives import EMP


class CFAMC(AdversarialMethod):
    """Cost-free adversarial multi-crop SSL (https://arxiv.org/abs/2501.03507)."""

    objective_class = EMP
    adversary_class = Free
    presets: ClassVar[OwnPresets] = {
        "best": {
            "adversary.norm": Replacement((), "linf"),
            "adversary.step_size": Replacement(("auto", 0.01), "4/255"),
            "crops.anneal.over": Replacement((0.0,), 0.8),
            "crops.anneal.scale": Replacement((1.0,), 0.86),
        }
    }
    """``best`` is the most robust combination of options that ``benchmarks.methods`` found."""
