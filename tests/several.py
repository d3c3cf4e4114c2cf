"""Runs a function in several processes, which start fast because they share their imports."""

import multiprocessing
from collections.abc import Callable, Sequence
from typing import Any

import torch.multiprocessing

# One server, started once for all tests of a process, imports these; each child is its fork.
multiprocessing.get_context("forkserver").set_forkserver_preload(["torch", "lightning", "timm"])


def run_in_processes(function: Callable[..., None], args: Sequence[Any], processes: int) -> None:
    """Call ``function(rank, *args)`` in each of several processes, and wait for all of them."""
    torch.multiprocessing.start_processes(
        function, args=tuple(args), nprocs=processes, start_method="forkserver"
    )
