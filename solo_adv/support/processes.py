"""Helpers for several processes (torchrun) that judge one test set and share one result."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

T = TypeVar("T")

# A process may wait long for another one's batch of AutoAttack. If one of them dies, torchrun ends
# the others, so nobody waits in vain.
PATIENCE = timedelta(days=2)


def rank() -> int:
    """The number of this process, counted from 0."""
    return dist.get_rank() if _several() else 0


def world_size() -> int:
    """How many processes there are."""
    return dist.get_world_size() if _several() else 1


def merged(counts: Tensor) -> Tensor:
    """The sum of ``counts`` over the processes, on the CPU."""
    counts = counts.cpu()
    if _several():
        dist.all_reduce(counts)
    return counts


def most(value: Tensor) -> Tensor:
    """The largest ``value`` of any process, on the CPU."""
    value = value.cpu()
    if _several():
        dist.all_reduce(value, dist.ReduceOp.MAX)
    return value


def from_first(value: T) -> T:
    """Send the first process's ``value`` to every process."""
    held = [value]
    if _several():
        dist.broadcast_object_list(held, src=0)
    return held[0]


def same_everywhere(module: nn.Module) -> None:
    """Copy the first process's parameters and buffers to every process."""
    if _several():
        for tensor in module.state_dict().values():
            values = tensor.cpu()
            dist.broadcast(values, src=0)
            tensor.copy_(values)


@contextmanager
def process_group() -> Iterator[None]:
    """Join the process group of torchrun, if torchrun started this process; leave it at the end."""
    if "TORCHELASTIC_RUN_ID" not in os.environ or _several():
        yield
        return
    # gloo is enough: the processes exchange little, and only tensors on the CPU.
    dist.init_process_group("gloo", timeout=PATIENCE)
    try:
        yield
    finally:
        dist.destroy_process_group()


@contextmanager
def first_process_first() -> Iterator[None]:
    """Let the first process run the block before the others, so that only it downloads files."""
    if _several() and rank() > 0:
        dist.barrier()
    yield
    if _several() and rank() == 0:
        dist.barrier()


def local_device(kind: str) -> torch.device:
    """The device of this process. With CUDA, each process of a machine has its own device."""
    if kind == "cuda" and _several():
        return torch.device(kind, int(os.environ["LOCAL_RANK"]))
    return torch.device(kind)


def _several() -> bool:
    return dist.is_available() and dist.is_initialized()


def usable_cores() -> int:
    """Processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
