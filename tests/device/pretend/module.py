"""What torch asks of a backend: ``torch.pretend``, its count of waits and its random numbers."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any
from weakref import WeakValueDictionary

import torch
from torch import Tensor

NAME = "pretend"
AVAILABLE = hasattr(torch.utils.backend_registration, "_setup_privateuseone_for_python_backend")
"""Whether this version of torch can have a backend in Python."""

generators: WeakValueDictionary[int, "Generator"] = WeakValueDictionary()
"""The device's generators by the address of their state, because kernels get new objects."""


class Generator(torch.Generator):
    """Random numbers of the pretend device."""

    device = torch.device("cpu")  # replaced when the device has its name

    def __init__(self) -> None:
        super().__init__()
        generators[self._cdata] = self


class Pretend:
    """The module ``torch.pretend``: what torch asks of a backend.

    Attributes:
        waits: Operations that made the CPU wait, in their order.
        may_wait: Whether waiting is allowed; otherwise it is an error.
        in_use: Whether the device seems to be there.
    """

    def __init__(self) -> None:
        self.waits: list[str] = []
        self.may_wait = True
        self.in_use = False
        self.generator = Generator()

    def wait(self, what: str) -> None:
        """Count something that makes the CPU wait."""
        self.waits.append(what)
        if not self.may_wait:
            raise RuntimeError(f"The CPU waits for the device: {what}")

    def is_available(self) -> bool:
        return self.in_use

    def is_initialized(self) -> bool:
        return self.in_use

    def device_count(self) -> int:
        return int(self.in_use)

    def current_device(self) -> int:
        return 0

    def set_device(self, device: Any) -> None:
        pass

    def device(self, device: Any) -> AbstractContextManager[None]:
        return nullcontext()

    def _is_in_bad_fork(self) -> bool:
        return False

    def synchronize(self, device: Any = None) -> None:
        self.wait("synchronize")

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.bfloat16, torch.float16]

    def manual_seed_all(self, seed: int) -> None:
        self.generator.manual_seed(seed)

    manual_seed = manual_seed_all

    def get_rng_state(self, device: Any = None) -> Tensor:
        return self.generator.get_state()

    def set_rng_state(self, state: Tensor, device: Any = None) -> None:
        self.generator.set_state(state)


MODULE = Pretend()


def is_on(value: Any) -> bool:
    """Whether a value is a tensor of the pretend device."""
    return isinstance(value, Tensor) and value.device.type == NAME
