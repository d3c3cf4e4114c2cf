"""Registers the pretend device with torch, and lets it seem to be there while it is in use."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from tests.device.pretend.autocast import cast_on
from tests.device.pretend.kernels import fallback, own_kernels
from tests.device.pretend.memory import (
    clone_storage,
    cloned_storage,
    move_storage,
    moved_storage,
)
from tests.device.pretend.module import AVAILABLE, MODULE, NAME, Generator, Pretend


def prepare() -> None:
    """Register the device before the first backward pass of this process.

    The first backward pass fixes how many devices the autograd engine serves.
    """
    with in_use():
        torch.ones(1, requires_grad=True).sum().backward()


@contextmanager
def in_use() -> Iterator[Pretend]:
    """Make the pretend device available, with a new count and a new seed."""
    _register()
    torch.Generator = _make_generator  # type: ignore[misc,assignment]
    torch.UntypedStorage.clone = cloned_storage  # type: ignore[method-assign]
    torch.UntypedStorage.to = moved_storage  # type: ignore[method-assign]
    MODULE.in_use = True
    MODULE.waits.clear()
    MODULE.generator.manual_seed(0)
    try:
        yield MODULE
    finally:
        MODULE.in_use = False
        torch.Generator = _Generator  # type: ignore[misc]
        torch.UntypedStorage.clone = clone_storage  # type: ignore[method-assign]
        torch.UntypedStorage.to = move_storage  # type: ignore[method-assign]


_Generator = torch.Generator


class _Either(type):
    def __instancecheck__(cls, value: Any) -> bool:
        return isinstance(value, _Generator)


class _make_generator(metaclass=_Either):
    def __new__(cls, device: Any = "cpu") -> Any:
        return Generator() if torch.device(device).type == NAME else _Generator(device)


_libraries: list[torch.library.Library] = []


def _register() -> None:
    if _libraries:
        return
    if not AVAILABLE:
        raise RuntimeError("This version of torch has no backends in Python.")

    class Hooks(torch._C._acc.PrivateUse1Hooks):
        def is_available(self) -> bool:
            return MODULE.in_use

        def has_primary_context(self, device: int) -> bool:
            return MODULE.in_use

        def is_built(self) -> bool:
            return True

    torch.utils.backend_registration._setup_privateuseone_for_python_backend(
        NAME, backend_module=MODULE, hook=Hooks()
    )
    Generator.device = torch.device(NAME)
    everything = torch.library.Library("_", "IMPL")
    everything.fallback(fallback, "PrivateUse1")
    everything.fallback(torch.library.fallthrough_kernel, "AutocastPrivateUse1")
    aten = torch.library.Library("aten", "IMPL")
    for name, kernel in own_kernels().items():
        aten.impl(name, kernel, "PrivateUse1")
    cast_on(aten, NAME)
    _libraries.extend((everything, aten))
