"""Passing many crops through a network in chunks, with the activations of one chunk in memory."""

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from solo_adv.adversaries import running_statistics_restored

Outputs = dict[str, Tensor]


def pass_in_chunks(
    network: Callable[[Tensor], Outputs], crops: Tensor, chunk: int, *, model: nn.Module
) -> Outputs:
    """``network(crops)``, of which at most ``chunk`` crops are passed at a time.

    Where a gradient is asked for, the first pass keeps nothing but the outputs, and the backward
    pass passes each chunk once more (gradient caching): the memory is that of one chunk, the time
    four thirds. The objective sees all outputs at once, so its gradient is the same; only batch
    normalisation differs, whose statistics are those of a chunk.

    Args:
        network: from crops (N, 3, h, w) to outputs with N rows.
        crops: (N, 3, h, w), view-major: a chunk holds whole views where it is large enough.
        chunk: the chunks are of equal size, give or take one, and not larger.
        model: whose running statistics the second passes leave alone.

    Source:
        Gao et al. 2021, https://arxiv.org/abs/2101.06983
    """
    parts = crops.tensor_split(math.ceil(len(crops) / chunk))
    if torch.is_grad_enabled():
        outputs = [
            checkpoint(network, part, use_reentrant=False, context_fn=lambda: _contexts(model))
            for part in parts
        ]
    else:
        outputs = [network(part) for part in parts]
    return {name: torch.cat([output[name] for output in outputs]) for name in outputs[0]}


def _contexts(
    model: nn.Module,
) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    """Of the first pass and of its repetition."""
    return nullcontext(), running_statistics_restored(model)
