"""Counts the operations that a step hands to the device, each of which costs the CPU some time."""

from collections import Counter
from collections.abc import Callable
from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode


class Operations(TorchDispatchMode):
    """Counts operations by name while it is the context."""

    def __init__(self) -> None:
        super().__init__()
        self.found: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.found[str(func)] += 1
        return func(*args, **(kwargs or {}))


def operations_of(work: Callable[[], object]) -> Counter[str]:
    """The operations of some work, by name."""
    with Operations() as operations:
        work()
    return operations.found
