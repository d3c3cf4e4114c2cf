"""Memory for crops on the CPU.

Getting a freed page back from the system takes longer than filling it with crops. Large results
are therefore in huge pages. (``support.allocator`` does something about all other memory.)
"""

import mmap
from contextlib import suppress

import torch
from torch import Tensor

_LARGE = 2**25
"""Bytes from which a result gets its own huge pages."""


def empty_crops(
    count: int, size: int, *, device: torch.device, memory_format: torch.memory_format
) -> Tensor:
    """Allocate float32 crops (count, 3, size, size); on Linux large ones get huge pages."""
    needed = count * 3 * size * size * torch.float32.itemsize
    if device.type != "cpu" or needed < _LARGE or not hasattr(mmap, "MADV_HUGEPAGE"):
        shape = count, 3, size, size
        return torch.empty(shape, dtype=torch.float32, device=device, memory_format=memory_format)
    pages = mmap.mmap(-1, needed, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with suppress(OSError):  # the kernel may have no huge pages
        pages.madvise(mmap.MADV_HUGEPAGE)
    numbers = torch.frombuffer(pages, dtype=torch.float32)
    if memory_format == torch.channels_last:
        return numbers.view(count, size, size, 3).permute(0, 3, 1, 2)
    return numbers.view(count, 3, size, size)
