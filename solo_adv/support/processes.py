"""Several processes (torchrun) that judge one test set: who does what, and one result for all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

T = TypeVar("T")

# A process may wait for another's batch of AutoAttack; torchrun ends all when one dies.
PATIENCE = timedelta(days=2)


def rank() -> int:
    """Which of the processes this is, from 0."""
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
    """The first process's ``value``, in every process."""
    held = [value]
    if _several():
        dist.broadcast_object_list(held, src=0)
    return held[0]


def same_everywhere(module: nn.Module) -> None:
    """Give every process the first one's parameters and buffers."""
    if _several():
        for tensor in module.state_dict().values():
            values = tensor.cpu()
            dist.broadcast(values, src=0)
            tensor.copy_(values)


@contextmanager
def process_group() -> Iterator[None]:
    """Join the processes that torchrun started, if it did, and leave them at the end."""
    if "TORCHELASTIC_RUN_ID" not in os.environ or _several():
        yield
        return
    # What is exchanged is small and lies on the CPU.
    dist.init_process_group("gloo", timeout=PATIENCE)
    try:
        yield
    finally:
        dist.destroy_process_group()


@contextmanager
def first_process_first() -> Iterator[None]:
    """The first process runs the block before the others: it may download what they read."""
    if _several() and rank() > 0:
        dist.barrier()
    yield
    if _several() and rank() == 0:
        dist.barrier()


def local_device(kind: str) -> torch.device:
    """The device of this process: on CUDA, one for each process of a machine."""
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
