"""A stand-in for a CUDA graph where there is none: it repeats operations on the same addresses.

A tape notes every operation on the device and its tensors while a function runs. A launch repeats
the operations and writes their results into the same tensors. As with a CUDA graph, no line of
Python runs again, numbers stay as they were, and reading a number or copying from the CPU is an
error while recording.
"""

import itertools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

_COPIES = ("copy_", "_to_copy", "_copy_from")
_BY_VALUES = (torch.Tag.dynamic_output_shape, torch.Tag.data_dependent_output)


class Tape(TorchDispatchMode):
    """Notes the operations on a device while it is the context.

    Args:
        device: The type of the device.
    """

    def __init__(self, device: str) -> None:
        super().__init__()
        self.device = device
        self.notes: list[tuple[Any, Any, Any, Any]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        found = [v for v in tree_leaves((args, kwargs, out)) if isinstance(v, Tensor)]
        here = [t for t in found if t.device.type == self.device]
        if not here:
            return out
        apart = len(here) < len(found) and func.overloadpacket.__name__ in _COPIES
        if apart or any(tag in func.tags for tag in _BY_VALUES):
            raise RuntimeError(f"{func} is not permitted while recording.")
        held = tree_map(lambda v: v.detach() if isinstance(v, Tensor) else v, (args, kwargs, out))
        self.notes.append((func, *held))
        return out

    @torch.no_grad()
    def launch(self) -> None:
        """Repeat the operations, in their order, into the same tensors."""
        for func, args, kwargs, out in self.notes:
            if func.is_view:
                continue
            again = func(*args, **kwargs)
            for ours, new in zip(tree_leaves(out), tree_leaves(again), strict=True):
                if isinstance(ours, Tensor) and ours.data_ptr() != new.data_ptr():
                    ours.copy_(new)


class TapeRecorder:
    """Records tapes, as :class:`solo_adv.methods.replay_graph.CudaRecorder` records CUDA graphs."""

    launched = 0

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def run(self, work: Callable[[], Any]) -> Any:
        return work()

    def record(self, work: Callable[[], Any]) -> tuple[Any, Callable[[], None]]:
        """Record the work. It is done already then, so that the first launch does nothing."""
        tape = Tape(self.device.type)
        with tape:
            done = work()
        return done, _after_the_first(tape.launch)


class PlainRecorder(TapeRecorder):
    """Records nothing: a launch is the function itself."""

    def record(self, work: Callable[[], Any]) -> tuple[Any, Callable[[], None]]:
        done = work()
        return done, _after_the_first(lambda: _overwrite(done, work()))


def _overwrite(ours: Any, new: Any) -> None:
    for one, other in zip(tree_leaves(ours), tree_leaves(new), strict=True):
        one.copy_(other)


def _after_the_first(launch: Callable[[], None]) -> Callable[[], None]:
    """Launch, except the first time, and count how often."""
    times = itertools.count()

    def counted() -> None:
        TapeRecorder.launched += 1
        if next(times):
            launch()

    return counted
