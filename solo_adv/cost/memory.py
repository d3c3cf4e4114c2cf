"""Predicts the memory of a training step without allocating it.

The real step (the method on the stand-in host with its adversary, loss, backward pass and
optimiser) runs on fake tensors, which have sizes but no memory, and the sizes of those alive at
each moment are added up. Not included are the libraries' own memory (workspaces, reordered weights,
fragmentation) and the temporaries of the cropping, which are freed before the network runs.
"""

import copy
import weakref
from dataclasses import dataclass
from typing import Any

import torch
from omegaconf import DictConfig
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter
from torch.utils.flop_counter import FlopCounterMode

from solo_adv.cost.rehearsal import RehearsedStep


class LiveBytes(TorchDispatchMode):
    """Adds up the storages of the tensors created in this context that are still alive.

    Attributes:
        live: Bytes alive now.
        peak: Largest ``live`` since the beginning or since :meth:`restart`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.live = self.peak = 0
        self._known: dict[int, weakref.finalize[Any, Any]] = {}

    def restart(self) -> None:
        """Set the peak to what is alive now."""
        self.peak = self.live

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for value in tree_iter(result):
            if isinstance(value, Tensor):
                self._note(value.untyped_storage())
        return result

    def _note(self, storage: torch.UntypedStorage) -> None:
        key = storage._cdata
        if key not in self._known:
            size = storage.nbytes()
            self._known[key] = weakref.finalize(storage, self._forget, key, size)
            self.live += size
            self.peak = max(self.peak, self.live)

    def _forget(self, key: int, size: int) -> None:
        del self._known[key]
        self.live -= size


@dataclass(frozen=True, kw_only=True)
class StepMemory:
    """Bytes and arithmetic of a training step on one device.

    Attributes:
        weights: Parameters and buffers.
        optimizer: State of the optimiser, such as momentum.
        adversary: The perturbation that is carried from batch to batch.
        peak: The most that is alive at any moment of a step, including all of these and the
            gradients.
        flops: Floating-point operations of a step (convolutions and matrix products).
    """

    weights: int
    optimizer: int
    adversary: int
    peak: int
    flops: int

    @property
    def activations(self) -> int:
        """The rest of the peak: activations, gradients and crops."""
        return self.peak - self.weights - self.optimizer - self.adversary


def step_memory(cfg: DictConfig, batch_size: int | None = None) -> StepMemory:
    """Predict the memory and arithmetic of a training step.

    Args:
        cfg: Complete config (`solo_adv.training.config.parse_cfg`).
        batch_size: Number of images in the batch of a device; None: the config's.
    """
    cfg = copy.deepcopy(cfg)
    cfg.data.num_classes = cfg.data.get("num_classes") or 10
    batch = cfg.optimizer.batch_size if batch_size is None else batch_size
    # The step is not compiled: that would take minutes, and the compiler's buffers are not visible
    # here.
    memoryless, live, counter = (
        FakeTensorMode(allow_non_fake_inputs=True),
        LiveBytes(),
        FlopCounterMode(display=False),
    )
    with memoryless, live:
        step = RehearsedStep(cfg, batch)
        step()  # the first step creates the momentum and the perturbation
        live.restart()
        step()
        peak = live.peak
    with memoryless, counter:  # in a step of its own, because the counter keeps tensors alive
        step()
    held = step.method.adversary.state_dict().values()
    return StepMemory(
        weights=_size([*step.method.parameters(), *step.method.buffers()]),
        optimizer=_size(v for state in step.optimizer.state.values() for v in state.values()),
        adversary=_size(held),
        peak=peak,
        flops=counter.get_total_flops(),
    )


def _size(tensors: Any) -> int:
    """Bytes of the tensors' storages, each counted once; other values are ignored."""
    storages = {}
    for tensor in tensors:
        if isinstance(tensor, Tensor):
            storage = tensor.untyped_storage()
            storages[storage._cdata] = storage.nbytes()
    return sum(storages.values())
