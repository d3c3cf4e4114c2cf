"""Predicts what a run costs: arithmetic, crop passes, data, memory, time and money."""

from typing import TYPE_CHECKING

from solo_adv.support.lazy import lazy_names

if TYPE_CHECKING:
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

__getattr__ = lazy_names(
    __name__,
    {
        "IMAGES": "solo_adv.cost.work",
        "YARDSTICK": "solo_adv.cost.network",
        "Cost": "solo_adv.cost.work",
        "Network": "solo_adv.cost.network",
        "StepMemory": "solo_adv.cost.memory",
        "cost": "solo_adv.cost.work",
        "evaluation_passes": "solo_adv.cost.work",
        "measured_throughput": "solo_adv.cost.network",
        "pass_flops": "solo_adv.cost.network",
        "passes_of_batch": "solo_adv.cost.work",
        "step_memory": "solo_adv.cost.memory",
    },
)
