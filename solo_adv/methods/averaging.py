"""An exponential moving average of the weights, used as momentum encoder, teacher, or result."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from solo_adv.support.checks import choice, number
from solo_adv.support.errors import UserError

JUDGED = ("average", "online")


@dataclass(frozen=True, kw_only=True)
class Averaging:
    """Keys of the ``averaging`` section.

    Attributes:
        decay: after every optimizer step the average becomes ``decay * average + (1 - decay) *
            weights``. With 0 no average is kept.
        encoder: which weights evaluations load from the checkpoint: ``average`` (if there is one),
            or ``online``, the ones that were trained.

    Raises:
        UserError: a value is not accepted.
    """

    decay: float = 0.0
    encoder: str = "average"

    def __post_init__(self) -> None:
        number("averaging.decay", self.decay)
        if self.decay >= 1:
            raise UserError(f"averaging.decay must be below 1, such as 0.999; got {self.decay}.")
        choice("averaging.encoder", self.encoder, JUDGED)


class AveragedWeights(nn.Module):
    """Copies of networks whose parameters and batch norm statistics are averages.

    The copies stay in eval mode and require no gradients. They are part of the method, so they are
    saved and resumed with it.

    Args:
        decay: share of the average that is kept at each update.
        networks: networks by their name in the method; the copies are children of the same names.
    """

    def __init__(self, decay: float, networks: dict[str, nn.Module]) -> None:
        super().__init__()
        self.decay = decay
        for name, network in networks.items():
            self.add_module(name, copy.deepcopy(network).requires_grad_(False))
        self.eval()

    def train(self, mode: bool = True) -> "AveragedWeights":
        """Stay in eval mode."""
        return super().train(False)

    @torch.no_grad()
    def update(self, method: nn.Module) -> None:
        """Move the average towards the networks of the same names in ``method``."""
        floats: tuple[list[Tensor], list[Tensor]] = ([], [])
        for name, average in self.named_children():
            network: nn.Module = getattr(method, name)
            for ours, theirs in zip(_tensors(average), _tensors(network), strict=True):
                if ours.is_floating_point():
                    floats[0].append(ours)
                    floats[1].append(theirs)
                else:  # batch norm's counts of batches
                    ours.copy_(theirs)
        torch._foreach_lerp_(floats[0], floats[1], 1 - self.decay)

    @contextmanager
    def in_place_of(self, method: nn.Module) -> Iterator[None]:
        """Context in which ``method`` uses the averaged networks instead of its own."""
        own = {name: getattr(method, name) for name, _ in self.named_children()}
        try:
            for name, average in self.named_children():
                setattr(method, name, average)
            yield
        finally:
            for name, network in own.items():
                setattr(method, name, network)


def _tensors(network: nn.Module) -> Iterator[Tensor]:
    yield from network.parameters()
    yield from network.buffers()
