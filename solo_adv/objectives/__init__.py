"""Objectives: pure functions on embeddings z (V, B, D) that say what a representation should be."""

from solo_adv.objectives.base import Loss, Objective
from solo_adv.objectives.emp import EMP, EMPLoss, emp_loss, total_coding_rate
from solo_adv.objectives.gather import gather_batch

__all__ = [
    "EMP",
    "EMPLoss",
    "Loss",
    "Objective",
    "emp_loss",
    "gather_batch",
    "total_coding_rate",
]
