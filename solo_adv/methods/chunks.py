"""Passing many crops through a network in chunks, with the activations of one chunk in memory."""

import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from solo_adv.adversaries import running_statistics_restored
from solo_adv.encoders.batch_norms import batch_norm_branch

Outputs = dict[str, Tensor]


def pass_in_chunks(
    network: Callable[[Tensor], Outputs],
    crops: Tensor,
    chunk: int,
    *,
    model: nn.Module,
    branch: str | None = None,
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
        branch: the batch norm that the second passes use, where the model has two.

    Source:
        Gao et al. 2021, https://arxiv.org/abs/2101.06983
    """
    parts = crops.tensor_split(math.ceil(len(crops) / chunk))
    if torch.is_grad_enabled():
        outputs = [
            checkpoint(
                network, part, use_reentrant=False, context_fn=lambda: _contexts(model, branch)
            )
            for part in parts
        ]
    else:
        outputs = [network(part) for part in parts]
    return {name: torch.cat([output[name] for output in outputs]) for name in outputs[0]}


def _contexts(
    model: nn.Module, branch: str | None
) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    """What surrounds the first pass, and what surrounds its repetition in the backward pass."""
    return nullcontext(), _repetition(model, branch)


@contextmanager
def _repetition(model: nn.Module, branch: str | None) -> Iterator[None]:
    with batch_norm_branch(model, branch), running_statistics_restored(model):
        yield
