"""Memory of the pretend device: the same bytes seen from both devices, new tensors, copies."""

import ctypes
from typing import Any

import torch
from torch import Tensor

from tests.device.pretend.module import MODULE, NAME, is_on

_DLPACK_CPU, _DLPACK_OTHER = 1, 12

_capsule_pointer = ctypes.pythonapi.PyCapsule_GetPointer
_capsule_pointer.restype = ctypes.c_void_p
_capsule_pointer.argtypes = [ctypes.py_object, ctypes.c_char_p]


def _aliased(tensor: Tensor, device: int) -> Tensor:
    """The same memory as a tensor of the other device."""
    capsule = torch._C._to_dlpack(tensor)
    # The second field of the structure, after a pointer, is the type of the device.
    kind = ctypes.c_int32.from_address(_capsule_pointer(capsule, b"dltensor") + 8)
    kind.value = device
    return torch._C._from_dlpack(capsule)


def on_cpu(tensor: Tensor) -> Tensor:
    return _aliased(tensor, _DLPACK_CPU)


def on_device(tensor: Tensor) -> Tensor:
    return _aliased(tensor, _DLPACK_OTHER)


def copy(source: Tensor, target: Tensor, non_blocking: bool = False) -> Tensor:
    """Copy between the devices, which makes the CPU wait, or within the device."""
    if not non_blocking and is_on(source) != is_on(target):
        MODULE.wait(f"copy of {tuple(source.shape)} from {source.device}")
    from_, to = (on_cpu(t) if is_on(t) else t for t in (source, target))
    to.copy_(from_)
    return target


def empty(
    size: Any,
    *,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    pin_memory: Any = None,
    memory_format: Any = None,
) -> Tensor:
    form = memory_format or torch.contiguous_format
    return on_device(torch.empty(size, dtype=dtype, memory_format=form))


def empty_strided(
    size: Any,
    stride: Any,
    *,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    pin_memory: Any = None,
) -> Tensor:
    return on_device(torch.empty_strided(size, stride, dtype=dtype))


clone_storage, move_storage = torch.UntypedStorage.clone, torch.UntypedStorage.to


def cloned_storage(storage: torch.UntypedStorage) -> torch.UntypedStorage:
    if storage.device.type != NAME:
        return clone_storage(storage)
    return torch.empty(0, dtype=torch.uint8, device=NAME).set_(storage).clone().untyped_storage()


def moved_storage(
    storage: torch.UntypedStorage, *, device: Any, non_blocking: bool = False
) -> torch.UntypedStorage:
    if torch.device(device).type != NAME or storage.device.type == NAME:
        return move_storage(storage, device=device, non_blocking=non_blocking)
    content = torch.empty(0, dtype=torch.uint8).set_(storage)
    return content.to(NAME, non_blocking=non_blocking).untyped_storage()
