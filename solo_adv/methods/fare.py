"""FARE: an existing encoder becomes robust, while its features stay what they are."""

from solo_adv.adversaries import PGD
from solo_adv.methods.adversarial import AdversarialMethod
from solo_adv.objectives import FeatureDistance


class FARE(AdversarialMethod):
    """Unsupervised adversarial fine-tuning (https://arxiv.org/abs/2402.12336)."""

    objective_class = FeatureDistance
    adversary_class = PGD
    default_crops = "whole"
