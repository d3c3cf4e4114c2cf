"""Joining the embeddings of all processes, so that a loss is that of the global batch."""

import torch.distributed as dist
from torch import Tensor, cat
from torch.distributed.nn.functional import all_gather


def gather_batch(z: Tensor, dim: int) -> Tensor:
    """Concatenate ``z`` over processes along ``dim``; gradients flow back to every process.

    Each process then holds the whole loss. The gather's backward sums over processes what DDP
    later averages, so parameter gradients equal those of one process with the joined batch.
    """
    if not dist.is_available() or not dist.is_initialized() or dist.get_world_size() == 1:
        return z
    return cat(all_gather(z.contiguous()), dim=dim)
