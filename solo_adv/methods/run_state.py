"""Saves and restores random states and running means, which Lightning's checkpoints lack."""

import random
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from solo_adv.support.random_state import has_random_state

if TYPE_CHECKING:
    from lightning.pytorch import Trainer

State = dict[str, Any]


def random_state(device: torch.device) -> State:
    """The states of the process-wide random generators, as tensors and plain values."""
    version, numbers, gauss = random.getstate()
    name, keys, position, has_gauss, cached = np.random.get_state()
    state: State = {
        "python": [version, torch.tensor(numbers), gauss],
        "numpy": [name, torch.from_numpy(np.int64(keys)), position, has_gauss, cached],
        "torch": torch.get_rng_state(),
    }
    if has_random_state(device):
        state[device.type] = torch.get_device_module(device).get_rng_state(device)
    return state


def restore_random_state(state: State, device: torch.device) -> None:
    """Set the process-wide random generators to a saved :func:`random_state`."""
    version, numbers, gauss = state["python"]
    random.setstate((version, tuple(numbers.tolist()), gauss))
    name, keys, *rest = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), *rest))
    torch.set_rng_state(state["torch"].cpu())
    if has_random_state(device) and device.type in state:
        torch.get_device_module(device).set_rng_state(state[device.type].cpu(), device)


def running_means(trainer: "Trainer") -> State:
    """The sums and counts of the epoch's means so far; empty at the end of an epoch.

    Lightning does not save them. Without them, the means of a resumed epoch would be those of its
    second part.
    """
    if trainer.is_last_batch:
        return {}
    return {
        key: [metric.value.clone(), metric.cumulated_batch_size.clone()]
        for key, metric in trainer.fit_loop.epoch_loop._results.items()
        if metric.meta.on_epoch and metric.is_tensor and metric.meta.is_mean_reduction
    }


def add_running_means(trainer: "Trainer", means: State) -> None:
    """Add saved :func:`running_means` to those of the first batch of the continued epoch."""
    results = trainer.fit_loop.epoch_loop._results
    for key, (value, count) in means.items():
        if key in results:
            metric = results[key]
            metric.value = value.to(metric.value.device) + metric.value
            metric.cumulated_batch_size = (
                count.to(metric.value.device) + metric.cumulated_batch_size
            )
