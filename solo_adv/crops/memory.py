"""Memory for crops on the CPU.

Getting a freed page back from the system takes longer than filling it with crops. Large results
are therefore in huge pages. :func:`keep_freed_memory` does something about the others.
"""

import mmap
from contextlib import suppress
from functools import cache

import torch
from torch import Tensor

_KEPT = 2**25
"""Largest block in bytes that glibc may keep when it is freed; larger ones go to the system."""


def empty_crops(
    count: int, size: int, *, device: torch.device, memory_format: torch.memory_format
) -> Tensor:
    """Allocate float32 crops (count, 3, size, size); on Linux large ones get huge pages."""
    needed = count * 3 * size * size * torch.float32.itemsize
    if device.type != "cpu" or needed < _KEPT or not hasattr(mmap, "MADV_HUGEPAGE"):
        shape = count, 3, size, size
        return torch.empty(shape, dtype=torch.float32, device=device, memory_format=memory_format)
    pages = mmap.mmap(-1, needed, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with suppress(OSError):  # the kernel may have no huge pages
        pages.madvise(mmap.MADV_HUGEPAGE)
    numbers = torch.frombuffer(pages, dtype=torch.float32)
    if memory_format == torch.channels_last:
        return numbers.view(count, size, size, 3).permute(0, 3, 1, 2)
    return numbers.view(count, 3, size, size)


@cache
def keep_freed_memory() -> None:
    """Let glibc keep freed blocks of up to 32 MiB, of everything in this process.

    Other C libraries ignore it. It cannot be undone, and it concerns memory that is not ours, so
    only ``performance.keep_freed_memory=true`` calls it, or whoever uses the crops without a
    config.
    """
    # When a block this large is freed, glibc raises its threshold and keeps later blocks up to
    # that size.
    torch.empty(_KEPT - 2 * mmap.PAGESIZE, dtype=torch.uint8)
