"""Objectives: losses of embeddings z (V, B, D), as pure functions."""

from solo_adv.objectives.base import Loss, Objective, Update
from solo_adv.objectives.contrastive import (
    ContrastiveLoss,
    NTXent,
    Supervised,
    nt_xent,
    sup_con,
)
from solo_adv.objectives.distillation import (
    DistillationLoss,
    FeatureDistance,
    FeatureDistanceLoss,
    RobustDistillation,
    squared_distance,
)
from solo_adv.objectives.dual import DualLoss, DualNTXent, ShiftingDualNTXent
from solo_adv.objectives.emp import EMP, EMPLoss, emp_loss, total_coding_rate
from solo_adv.objectives.invariance import adversarial_invariance, standard_invariance
from solo_adv.objectives.trades import PseudoTrades, TradesLoss, divergence_of, trades_loss
from solo_adv.support.gather import gather_batch

__all__ = [
    "EMP",
    "ContrastiveLoss",
    "DistillationLoss",
    "DualLoss",
    "DualNTXent",
    "EMPLoss",
    "FeatureDistance",
    "FeatureDistanceLoss",
    "Loss",
    "NTXent",
    "Objective",
    "PseudoTrades",
    "RobustDistillation",
    "ShiftingDualNTXent",
    "Supervised",
    "TradesLoss",
    "Update",
    "adversarial_invariance",
    "divergence_of",
    "emp_loss",
    "gather_batch",
    "nt_xent",
    "squared_distance",
    "standard_invariance",
    "sup_con",
    "total_coding_rate",
    "trades_loss",
]
