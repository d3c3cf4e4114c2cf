"""Predicts what a run costs: arithmetic, crop passes, data, memory, time and money."""

from solo_adv.cost.memory import StepMemory, step_memory
from solo_adv.cost.network import YARDSTICK, Network, measured_throughput, pass_flops
from solo_adv.cost.work import IMAGES, Cost, cost, evaluation_passes, passes_of_batch

__all__ = [
    "IMAGES",
    "YARDSTICK",
    "Cost",
    "Network",
    "StepMemory",
    "cost",
    "evaluation_passes",
    "measured_throughput",
    "pass_flops",
    "passes_of_batch",
    "step_memory",
]
