"""Joins the embeddings of all processes, so that a loss is that of the global batch."""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from solo_adv.support.processes import rank, world_size


def gather_batch(z: Tensor, dim: int) -> Tensor:
    """Concatenate ``z``, embeddings or labels, over processes along ``dim``.

    Every process then computes the loss of the whole batch. The backward pass sums the gradients
    over the processes, and DDP later averages them, so parameter gradients equal those of one
    process with the joined batch.

    Args:
        z: a tensor that has the same shape in all processes.
        dim: the dimension of the batch.

    Returns:
        The joined tensor; ``z`` itself if there is only one process.
    """
    if world_size() == 1:
        return z
    joined: Tensor = _Gather.apply(z, dim)
    return joined


class _Gather(torch.autograd.Function):
    """Joins the processes' tensors. The backward pass sums the processes' gradients."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, dim: int) -> Tensor:
        ctx.dim = dim
        parts = [z.new_empty(z.shape) for _ in range(world_size())]
        dist.all_gather(parts, z.contiguous())
        return torch.cat(parts, dim=dim)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        # The all-reduce overwrites its tensor, and autograd may use the given gradient elsewhere.
        gradient = gradients[0].clone(memory_format=torch.contiguous_format)
        dist.all_reduce(gradient)
        return gradient.chunk(world_size(), dim=ctx.dim)[rank()], None
