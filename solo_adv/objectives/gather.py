"""Joining the embeddings of all processes, so that a loss is that of the global batch."""

import torch.distributed as dist
from torch import Tensor, cat, empty_like
from torch.distributed.nn.functional import all_gather


def gather_batch(z: Tensor, dim: int) -> Tensor:
    """Concatenate ``z``, embeddings or labels, over processes along ``dim``.

    Gradients flow back to every process, each of which then holds the whole loss. The gather's
    backward sums over processes what DDP later averages, so parameter gradients equal those of one
    process with the joined batch.
    """
    if not dist.is_available() or not dist.is_initialized() or dist.get_world_size() == 1:
        return z
    if not z.is_floating_point():  # labels, which have no gradient
        parts = [empty_like(z) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, z.contiguous())
        return cat(parts, dim=dim)
    return cat(all_gather(z.contiguous()), dim=dim)
