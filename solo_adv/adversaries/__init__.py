"""Adversaries decide how the crops are perturbed and how often the weights are updated."""

from solo_adv.adversaries.ball import AUTO, NORMS, Ball, LossOf, as_fraction
from solo_adv.adversaries.base import Adversary
from solo_adv.adversaries.batch_norm import batch_norm_during_attack, running_statistics_restored
from solo_adv.adversaries.fast import Fast
from solo_adv.adversaries.free import Free
from solo_adv.adversaries.freezing import parameters_frozen
from solo_adv.adversaries.pgd import PGD
from solo_adv.adversaries.schedule import AttackSchedule

__all__ = [
    "AUTO",
    "NORMS",
    "PGD",
    "Adversary",
    "AttackSchedule",
    "Ball",
    "Fast",
    "Free",
    "LossOf",
    "as_fraction",
    "batch_norm_during_attack",
    "parameters_frozen",
    "running_statistics_restored",
]
