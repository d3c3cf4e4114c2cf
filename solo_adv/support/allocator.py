"""Keeps memory that the process has freed, because new pages of the system take time.

By default glibc gives every large block back to the system when it is freed, and a network's
activations are such blocks. Each pass then gets them anew, page by page, filled with zeros.
"""

import ctypes
import os
from functools import cache

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4  # of malloc.h
_PAD = 2**26


@cache
def keep_freed_memory() -> bool:
    """Let glibc keep all memory that this process frees for its later blocks.

    It cannot be undone. The process then holds as much as it ever needed at once, and somewhat more
    because of gaps between blocks.

    Returns:
        Whether the C library has these settings; others are left as they are.

    Source:
        ``mallopt(3)``: ``M_MMAP_MAX=0``, ``M_TRIM_THRESHOLD=-1``.
    """
    if os.name != "posix":  # Windows has no library of the process itself
        return False
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "gnu_get_libc_version"):
        return False
    settings = ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, -1), (_TOP_PAD, _PAD))
    done = [libc.mallopt(name, value) == 1 for name, value in settings]
    return all(done)
