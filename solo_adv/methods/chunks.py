"""Passes many crops through a network in chunks, keeping the activations of only one chunk."""

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
    """Compute ``network(crops)``, passing at most ``chunk`` crops at a time.

    If gradients are enabled, the first pass keeps only the outputs, and the backward pass passes
    each chunk once more (gradient caching). This needs the memory of one chunk and four thirds of
    the time. The objective sees all outputs at once, so its gradient is the same. Only batch norm
    differs, because its statistics are those of a chunk.

    Args:
        network: takes crops (N, 3, h, w) and returns outputs with N rows.
        crops: crops (N, 3, h, w), view-major, so that a chunk holds whole views if it is large
            enough.
        chunk: the largest number of crops in a chunk. The chunks have equal sizes, or differ by
            one.
        model: the model whose running statistics the second passes must not change.
        branch: the batch norm that the second passes use if the model has two.

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
    """The context of the first pass, and that of its repetition in the backward pass."""
    return nullcontext(), _repetition(model, branch)


@contextmanager
def _repetition(model: nn.Module, branch: str | None) -> Iterator[None]:
    with batch_norm_branch(model, branch), running_statistics_restored(model):
        yield
