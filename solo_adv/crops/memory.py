"""Memory for crops on the CPU that the system need not hand out anew, page by page.

A page that is given back costs more to get again than to fill with crops.
"""

import mmap
from contextlib import suppress
from functools import cache

import torch
from torch import Tensor

_KEPT = 2**25
"""Bytes up to which the C library may keep what is freed; larger blocks always go back."""


def empty_crops(
    count: int, size: int, *, device: torch.device, memory_format: torch.memory_format
) -> Tensor:
    """Uninitialised float32 crops (count, 3, size, size); large ones in large pages, on Linux."""
    if device.type == "cpu":
        _keep_freed_memory()
    needed = count * 3 * size * size * torch.float32.itemsize
    if device.type != "cpu" or needed < _KEPT or not hasattr(mmap, "MADV_HUGEPAGE"):
        shape = count, 3, size, size
        return torch.empty(shape, device=device, memory_format=memory_format)
    pages = mmap.mmap(-1, needed, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with suppress(OSError):  # of a kernel without them
        pages.madvise(mmap.MADV_HUGEPAGE)
    numbers = torch.frombuffer(pages, dtype=torch.float32)
    if memory_format == torch.channels_last:
        return numbers.view(count, size, size, 3).permute(0, 3, 1, 2)
    return numbers.view(count, 3, size, size)


@cache
def _keep_freed_memory() -> None:
    # From the size of a block that is freed glibc learns how much to keep for the next time.
    torch.empty(_KEPT - 2 * mmap.PAGESIZE, dtype=torch.uint8)
