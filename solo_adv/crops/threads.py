"""Chunks of work side by side in threads, each of which computes alone.

Torch spreads single operations over its threads, which pays for large ones. On chunks that fit into
a core's cache most of that time goes into handing out the parts and waiting for the last one.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from threading import Barrier
from typing import TypeVar

import torch

MOST_THREADS = 16
"""More would mostly wait for Python's lock."""

Item = TypeVar("Item")


def run_all(work: Callable[[Item], object], items: Iterable[Item]) -> None:
    """Do the work for every item, in as many threads as torch may use.

    What is done for an item does not depend on the number of threads.

    Args:
        work: Computes without gradients, and without autocast, whatever the caller's state.
        items: What it is called with.
    """
    items = list(items)
    threads = min(torch.get_num_threads(), MOST_THREADS)

    @torch.no_grad()
    def alone(item: Item) -> None:
        work(item)

    if threads == 1 or len(items) == 1:
        for item in items:
            alone(item)
    else:
        # A forked process inherits the pool without its threads.
        for _ in _pool(threads, os.getpid()).map(alone, items):
            pass


@lru_cache(maxsize=1)
def _pool(threads: int, process: int) -> ThreadPoolExecutor:
    pool = ThreadPoolExecutor(threads, thread_name_prefix="crops")
    all_there = Barrier(threads)

    def compute_alone() -> None:
        torch.set_num_threads(1)  # of this thread
        all_there.wait()

    mine = torch.get_num_threads()
    for started in [pool.submit(compute_alone) for _ in range(threads)]:
        started.result()
    torch.set_num_threads(mine)  # of threads that begin later
    return pool
