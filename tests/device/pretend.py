"""A pretend accelerator: a device other than ``cpu`` whose tensors the CPU computes.

torch has a device type without a backend, ``PrivateUse1``, and here it becomes ``pretend``. Its
tensors have memory of their own, real strides, storage and gradients. Every operation on them
arrives at :func:`_fallback`, which hands their memory to torch's kernel of the CPU. What a GPU
refuses is refused here:

* A tensor of the CPU among those of the device is an error, unless it has no dimensions and the
  operation works point by point.
* A generator of the CPU does not fill a tensor of the device, nor does the CPU's random state.

What makes the CPU wait for a GPU is counted in :attr:`Pretend.waits`: a copy between the devices
(from the CPU, if it is not ``non_blocking``), a number read from a tensor (``item``, ``bool``,
printing) and a shape that depends on values (``nonzero``, an index that is a mask).

These have no fallback and are covered otherwise:

* Convolutions and their gradients are two operations that each backend writes itself; they are
  here, and call the CPU's.
* Views (``as_strided``, ``view``, ``unfold``) and ``set_`` run in the CPU's kernels directly, which
  only change sizes and strides.
* ``torch.Generator("pretend")`` and a storage of the device cannot be made in Python. While the
  device is in use, ``torch.Generator`` makes a :class:`Generator`, and storages are copied as
  tensors.
* Autocast of this device has no lists of operations. ``autocast.py`` has those that networks and
  losses here use. Its cache of casts does not exist.
* Page-locked memory and streams do not exist here; only a real device shows their faults.
"""

import ctypes
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from typing import Any
from weakref import WeakValueDictionary

import torch
from torch import Tensor

from tests.device.autocast import cast_on

NAME = "pretend"
AVAILABLE = hasattr(torch.utils.backend_registration, "_setup_privateuseone_for_python_backend")
"""Whether this version of torch can have a backend in Python."""
_CPU = torch.device("cpu")
_DLPACK_CPU, _DLPACK_OTHER = 1, 12
_CPU_KERNEL = torch._C.DispatchKeySet(torch._C.DispatchKey.CPU)
_VIEWS = (
    *("as_strided", "view", "_reshape_alias", "unfold", "view_as_real", "view_as_complex"),
    *("set_.source_Storage_storage_offset", "set_.source_Tensor", "set_.source_Storage"),
)
_TAKE_NUMBERS = ("fill_", "masked_fill", "masked_fill_", "index_put_", "_index_put_impl_")
"""Operations that are not point by point and accept a tensor without dimensions of the CPU."""

_capsule_pointer = ctypes.pythonapi.PyCapsule_GetPointer
_capsule_pointer.restype = ctypes.c_void_p
_capsule_pointer.argtypes = [ctypes.py_object, ctypes.c_char_p]


_generators: WeakValueDictionary[int, "Generator"] = WeakValueDictionary()
"""The device's generators by the address of their state, because kernels get new objects."""


class Generator(torch.Generator):
    """Random numbers of the pretend device."""

    device = torch.device("cpu")  # replaced when the device has its name

    def __init__(self) -> None:
        super().__init__()
        _generators[self._cdata] = self


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
    torch.UntypedStorage.clone = _cloned_storage  # type: ignore[method-assign]
    torch.UntypedStorage.to = _moved_storage  # type: ignore[method-assign]
    MODULE.in_use = True
    MODULE.waits.clear()
    MODULE.generator.manual_seed(0)
    try:
        yield MODULE
    finally:
        MODULE.in_use = False
        torch.Generator = _Generator  # type: ignore[misc]
        torch.UntypedStorage.clone = _clone_storage  # type: ignore[method-assign]
        torch.UntypedStorage.to = _move_storage  # type: ignore[method-assign]


_clone_storage, _move_storage = torch.UntypedStorage.clone, torch.UntypedStorage.to


def _cloned_storage(storage: torch.UntypedStorage) -> torch.UntypedStorage:
    if storage.device.type != NAME:
        return _clone_storage(storage)
    return torch.empty(0, dtype=torch.uint8, device=NAME).set_(storage).clone().untyped_storage()


def _moved_storage(
    storage: torch.UntypedStorage, *, device: Any, non_blocking: bool = False
) -> torch.UntypedStorage:
    if torch.device(device).type != NAME or storage.device.type == NAME:
        return _move_storage(storage, device=device, non_blocking=non_blocking)
    content = torch.empty(0, dtype=torch.uint8).set_(storage)
    return content.to(NAME, non_blocking=non_blocking).untyped_storage()


_Generator = torch.Generator


class _Either(type):
    def __instancecheck__(cls, value: Any) -> bool:
        return isinstance(value, _Generator)


class _make_generator(metaclass=_Either):
    def __new__(cls, device: Any = "cpu") -> Any:
        return Generator() if torch.device(device).type == NAME else _Generator(device)


# -------------------------------------------------------------------- memory


def _aliased(tensor: Tensor, device: int) -> Tensor:
    """The same memory as a tensor of the other device."""
    capsule = torch._C._to_dlpack(tensor)
    # The second field of the structure, after a pointer, is the type of the device.
    kind = ctypes.c_int32.from_address(_capsule_pointer(capsule, b"dltensor") + 8)
    kind.value = device
    return torch._C._from_dlpack(capsule)


def _on_cpu(tensor: Tensor) -> Tensor:
    return _aliased(tensor, _DLPACK_CPU)


def _on_device(tensor: Tensor) -> Tensor:
    return _aliased(tensor, _DLPACK_OTHER)


# -------------------------------------------------------------------- kernels


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


def _fallback(op: Any, *args: Any, **kwargs: Any) -> Any:
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
            return remembered(_on_cpu(value), value)
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
        return ours[id(value)][1] if id(value) in ours else _on_device(value)

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
        given.set_(_on_device(alias))
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
    if given is not None and given._cdata not in _generators:
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


def _copy(source: Tensor, target: Tensor, non_blocking: bool = False) -> Tensor:
    """Copy between the devices, which makes the CPU wait, or within the device."""
    if not non_blocking and is_on(source) != is_on(target):
        MODULE.wait(f"copy of {tuple(source.shape)} from {source.device}")
    from_, to = (_on_cpu(t) if is_on(t) else t for t in (source, target))
    to.copy_(from_)
    return target


def _empty(
    size: Any,
    *,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    pin_memory: Any = None,
    memory_format: Any = None,
) -> Tensor:
    form = memory_format or torch.contiguous_format
    return _on_device(torch.empty(size, dtype=dtype, memory_format=form))


def _empty_strided(
    size: Any,
    stride: Any,
    *,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    pin_memory: Any = None,
) -> Tensor:
    return _on_device(torch.empty_strided(size, stride, dtype=dtype))


def _convolution(x: Tensor, weight: Tensor, bias: Tensor | None, *settings: Any) -> Tensor:
    return _fallback(torch.ops.aten.convolution.default, x, weight, bias, *settings)


def _convolution_backward(
    gradient: Tensor, x: Tensor, weight: Tensor, *settings: Any
) -> tuple[Tensor | None, ...]:
    op = torch.ops.aten.convolution_backward.default
    return _fallback(op, gradient, x, weight, [weight.shape[0]], *settings)


def _of_cpu(op: Any) -> Callable[..., Any]:
    return lambda *args, **kwargs: op.redispatch(_CPU_KERNEL, *args, **kwargs)


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
    everything.fallback(_fallback, "PrivateUse1")
    everything.fallback(torch.library.fallthrough_kernel, "AutocastPrivateUse1")
    aten = torch.library.Library("aten", "IMPL")
    own = {
        "_copy_from": _copy,
        "empty.memory_format": _empty,
        "empty_strided": _empty_strided,
        "convolution_overrideable": _convolution,
        "convolution_backward_overrideable": _convolution_backward,
    }
    for view in _VIEWS:
        name, _, overload = view.partition(".")
        own[view] = _of_cpu(getattr(getattr(torch.ops.aten, name), overload or "default"))
    for name, kernel in own.items():
        aten.impl(name, kernel, "PrivateUse1")
    cast_on(aten, NAME)
    _libraries.extend((everything, aten))
