"""Chunks of work side by side in threads, each of which computes alone.

Torch spreads single operations over its threads, which pays for large ones. On chunks that fit into
a core's cache most of that time goes into handing out the parts and waiting for the last one: two
cores then make fewer crops than one.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache
from typing import TypeVar

import torch

MOST_THREADS = 16
"""More would mostly wait for Python's lock."""

Item = TypeVar("Item")


@contextmanager
def computing_alone() -> Iterator[int]:
    """Operations of this thread are not spread over others meanwhile; gives how many there are."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield threads
    finally:
        torch.set_num_threads(threads)


def run_all(work: Callable[[Item], object], items: Sequence[Item]) -> None:
    """Do the work for every item, in as many threads as torch may use.

    What is done for an item does not depend on the number of threads.

    Args:
        work: Computes without gradients, and without autocast, whatever the caller's state.
        items: What it is called with.
    """

    @torch.no_grad()
    def alone(item: Item) -> None:
        work(item)

    with computing_alone() as threads:
        if threads == 1 or len(items) == 1:
            for item in items:
                alone(item)
        else:
            # A forked process inherits the pool without its threads.
            for _ in _pool(min(threads, MOST_THREADS), os.getpid()).map(alone, items):
                pass


@lru_cache(maxsize=1)
def _pool(threads: int, process: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(
        threads,
        thread_name_prefix="crops",
        initializer=torch.set_num_threads,  # of each thread
        initargs=(1,),
    )
