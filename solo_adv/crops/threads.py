"""Several chunks of work at once, each in a thread of its own.

Torch splits each operation among its threads, which pays off for large ones. For chunks that fit
into a core's cache, most of the time then goes into distributing the parts and waiting for the last
one: two cores make fewer crops than one. So each thread here does whole chunks alone.
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
"""More threads would mostly wait for Python's global interpreter lock."""

Item = TypeVar("Item")


@contextmanager
def computing_alone() -> Iterator[int]:
    """Context in which torch computes in the calling thread alone; yields its number of threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield threads
    finally:
        torch.set_num_threads(threads)


def run_all(work: Callable[[Item], object], items: Sequence[Item]) -> None:
    """Call ``work`` with every item, in as many threads as torch may use.

    The results do not depend on the number of threads.

    Args:
        work: Runs without gradients and without autocast, even if the caller has them on.
        items: The arguments of the calls.
    """

    @torch.no_grad()
    def alone(item: Item) -> None:
        work(item)

    with computing_alone() as threads:
        if threads == 1 or len(items) == 1:
            for item in items:
                alone(item)
        else:
            # The process id makes a forked process build its own pool: the inherited one has no
            # threads.
            for _ in _pool(min(threads, MOST_THREADS), os.getpid()).map(alone, items):
                pass


@lru_cache(maxsize=1)
def _pool(threads: int, process: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(
        threads,
        thread_name_prefix="crops",
        initializer=torch.set_num_threads,  # the setting belongs to a thread
        initargs=(1,),
    )
