"""The kernels of the pretend device, which hand its memory to those of the CPU."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from torch import Tensor

from tests.device.pretend.memory import copy, empty, empty_strided, on_cpu, on_device
from tests.device.pretend.module import MODULE, NAME, generators, is_on

_CPU = torch.device("cpu")
_CPU_KERNEL = torch._C.DispatchKeySet(torch._C.DispatchKey.CPU)
_VIEWS = (
    *("as_strided", "view", "_reshape_alias", "unfold", "view_as_real", "view_as_complex"),
    *("set_.source_Storage_storage_offset", "set_.source_Tensor", "set_.source_Storage"),
)
_TAKE_NUMBERS = ("fill_", "masked_fill", "masked_fill_", "index_put_", "_index_put_impl_")
"""Operations that are not point by point and accept a tensor without dimensions of the CPU."""


class _Facts:
    """What the schema of an operation says about it."""

    def __init__(self, op: Any) -> None:
        self.name = op.overloadpacket.__name__
        by_values = (torch.Tag.dynamic_output_shape, torch.Tag.data_dependent_output)
        self.waits = any(tag in op.tags for tag in by_values)
        self.indexes = self.name in ("index", "index_put_", "_index_put_impl_")
        self.takes_numbers = torch.Tag.pointwise in op.tags or self.name in _TAKE_NUMBERS
        arguments = op._schema.arguments
        self.tensors = [place for place, a in enumerate(arguments) if str(a.type) == "Tensor"]
        self.outputs = [argument.name for argument in arguments if argument.is_out]
        names = [argument.name for argument in arguments]
        self.generator = names.index("generator") if "generator" in names else None
        self.random = torch.Tag.nondeterministic_seeded in op.tags


_facts = cache(_Facts)


def fallback(op: Any, *args: Any, **kwargs: Any) -> Any:
    """Compute any operation with the CPU's kernel on the memory of the arguments."""
    facts = _facts(op)
    ours: dict[int, tuple[Tensor, Tensor]] = {}  # keeps the aliases, so that no id is used twice
    # Before it reads by an index, torch copies what must be copied; before it writes, it does not.
    writes = facts.indexes and facts.name != "index"
    if facts.waits or (writes and _reads_indices(args[1])):
        MODULE.wait(str(op))

    def remembered(alias: Tensor, tensor: Tensor) -> Tensor:
        ours[id(alias)] = alias, tensor
        return alias

    def lowered(value: Any) -> Any:
        if isinstance(value, list | tuple):
            return [lowered(part) for part in value]
        if is_on(value):
            return remembered(on_cpu(value), value)
        allowed = (facts.takes_numbers and not getattr(value, "ndim", 0)) or facts.indexes
        if isinstance(value, Tensor) and not allowed:
            raise RuntimeError(
                "Expected all tensors to be on the same device, but found at least two devices, "
                f"{NAME}:0 and {value.device}! ({op} got {tuple(value.shape)})"
            )
        return _CPU if isinstance(value, torch.device) else value

    def raised(value: Any) -> Any:
        if isinstance(value, list | tuple):
            return type(value)(raised(part) for part in value)
        if not isinstance(value, Tensor):
            return value
        return ours[id(value)][1] if id(value) in ours else on_device(value)

    cpu_args = [lowered(value) for value in args]
    cpu_kwargs = {name: lowered(value) for name, value in kwargs.items()}
    resized = []
    for name in facts.outputs:
        given = kwargs.get(name)
        if is_on(given) and given.numel() == 0:
            alias = remembered(torch.empty(0, dtype=given.dtype), given)
            cpu_kwargs[name] = alias
            resized.append((alias, given))
    for place in facts.tensors:
        if place < len(args) and isinstance(args[place], int | float):
            taking = _with_number(op, place)
            if taking is None:
                cpu_args[place] = torch.tensor(args[place])
            else:
                op = taking
    with _random_numbers(facts, cpu_args, cpu_kwargs):
        result = op(*cpu_args, **cpu_kwargs)
    for alias, given in resized:
        given.set_(on_device(alias))
    return raised(result)


@cache
def _with_number(op: Any, place: int) -> Any:
    """The overload that takes a number, as which a tensor that torch made of one arrives.

    None if there is none, as for a number from which a tensor is subtracted.
    """
    names = [argument.name for argument in op._schema.arguments]
    packet = op.overloadpacket
    for other in (getattr(packet, name) for name in packet.overloads()):
        arguments = other._schema.arguments
        same = [argument.name for argument in arguments] == names
        if same and str(arguments[place].type) == "number":
            return other
    return None


def _reads_indices(indices: Any) -> bool:
    """Whether an index is a mask, which is counted first, or a tensor of the CPU."""
    masks = (torch.bool, torch.uint8)
    listed = indices if isinstance(indices, list | tuple) else ()
    return any(i is not None and (i.dtype in masks or not is_on(i)) for i in listed)


@contextmanager
def _random_numbers(facts: _Facts, args: list[Any], kwargs: dict[str, Any]) -> Iterator[None]:
    """Draw from the given generator, which must be the device's, or from the device's own."""
    given = kwargs.get("generator")
    if facts.generator is not None and facts.generator < len(args):
        given = args[facts.generator]
    if given is not None and given._cdata not in generators:
        raise RuntimeError(
            f"Expected a '{NAME}' device type for generator but found '{given.device}'"
        )
    if given is not None or not facts.random:
        yield
        return
    before = torch.default_generator.get_state()
    torch.default_generator.set_state(MODULE.generator.get_state())
    yield
    MODULE.generator.set_state(torch.default_generator.get_state())
    torch.default_generator.set_state(before)


def _convolution(x: Tensor, weight: Tensor, bias: Tensor | None, *settings: Any) -> Tensor:
    return fallback(torch.ops.aten.convolution.default, x, weight, bias, *settings)


def _convolution_backward(
    gradient: Tensor, x: Tensor, weight: Tensor, *settings: Any
) -> tuple[Tensor | None, ...]:
    op = torch.ops.aten.convolution_backward.default
    return fallback(op, gradient, x, weight, [weight.shape[0]], *settings)


def _of_cpu(op: Any) -> Callable[..., Any]:
    return lambda *args, **kwargs: op.redispatch(_CPU_KERNEL, *args, **kwargs)


def own_kernels() -> dict[str, Callable[..., Any]]:
    """The kernels, by the name of their operation, of operations that the fallback cannot serve."""
    own: dict[str, Callable[..., Any]] = {
        "_copy_from": copy,
        "empty.memory_format": empty,
        "empty_strided": empty_strided,
        "convolution_overrideable": _convolution,
        "convolution_backward_overrideable": _convolution_backward,
    }
    for view in _VIEWS:
        name, _, overload = view.partition(".")
        own[view] = _of_cpu(getattr(getattr(torch.ops.aten, name), overload or "default"))
    return own
