"""How much memory a training step takes, without taking it.

The real step (the method on the stand-in host, its adversary, loss, backward pass and optimiser)
runs on tensors that have sizes but no memory; what would live at each moment is added up. What the
libraries set aside for themselves (workspaces, re-ordered weights, fragments) is not in it, nor the
passing temporaries of the cropping, which are gone when the network begins.
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
    """Adds up the storages of all tensors made inside that are still alive.

    Attributes:
        live: bytes now.
        peak: most bytes since the beginning, or since :meth:`restart`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.live = self.peak = 0
        self._known: dict[int, weakref.finalize[Any, Any]] = {}

    def restart(self) -> None:
        """Begin a new peak at what lives now."""
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
    """Bytes of a training step on one device, and what it computes.

    Attributes:
        weights: parameters and buffers.
        optimizer: its state, such as momentum.
        adversary: the perturbation that is carried from batch to batch.
        peak: the most that lives at any moment of a step, all of these and the gradients included.
        flops: floating-point operations of a step (convolutions and matrix products).
    """

    weights: int
    optimizer: int
    adversary: int
    peak: int
    flops: int

    @property
    def activations(self) -> int:
        """What the peak holds beyond the state of the run: activations, gradients, crops."""
        return self.peak - self.weights - self.optimizer - self.adversary


def step_memory(cfg: DictConfig, batch_size: int | None = None) -> StepMemory:
    """The memory of a training step.

    Args:
        cfg: complete config (`solo_adv.training.config.parse_cfg`).
        batch_size: images in the batch of a device; None: the config's.
    """
    cfg = copy.deepcopy(cfg)
    cfg.data.num_classes = cfg.data.get("num_classes") or 10
    batch = cfg.optimizer.batch_size if batch_size is None else batch_size
    # Not the compiled step: compiling would take minutes, and its buffers are the compiler's.
    memoryless, live, counter = FakeTensorMode(), LiveBytes(), FlopCounterMode(display=False)
    with memoryless, live:
        step = RehearsedStep(cfg, batch)
        step()  # the next has momentum and perturbation from it
        live.restart()
        step()
        peak = live.peak
    with memoryless, counter:  # apart, as counting holds on to tensors
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
    """Bytes of the storages of these tensors, each once; what is no tensor counts nothing."""
    storages = {}
    for tensor in tensors:
        if isinstance(tensor, Tensor):
            storage = tensor.untyped_storage()
            storages[storage._cdata] = storage.nbytes()
    return sum(storages.values())
