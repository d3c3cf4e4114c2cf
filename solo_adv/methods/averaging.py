"""An exponential moving average of the weights, used as momentum encoder, teacher, or result."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from solo_adv.support.checks import choice, number
from solo_adv.support.errors import UserError
from solo_adv.support.modules import copied

JUDGED = ("average", "online")
PASSED = ("none", "second")


@dataclass(frozen=True, kw_only=True)
class Averaging:
    """Keys of the ``averaging`` section.

    Attributes:
        decay: after every optimizer step the average becomes ``decay * average + (1 - decay) *
            weights``. With 0 no average is kept.
        encoder: which weights evaluations load from the checkpoint: ``average`` (if there is one),
            or ``online``, the ones that were trained.
        views: which views the averaged networks pass in the place of the trained ones. With
            ``second`` they are a momentum encoder: they pass all crops of an image but the first,
            clean and attacked, in training and while an attack is crafted, and the objective
            compares their embeddings with those of the trained networks. They are then in train
            mode with batch norm statistics of their own, and the average moves before the optimizer
            step, towards the weights that made the embeddings. Source: DynACL's code
            (``models/resnet_multi_bn.py``, ``train_DynACL.py``).

    Raises:
        UserError: a value is not accepted.
    """

    decay: float = 0.0
    encoder: str = "average"
    views: str = "none"

    def __post_init__(self) -> None:
        number("averaging.decay", self.decay)
        if self.decay >= 1:
            raise UserError(f"averaging.decay must be below 1, such as 0.999; got {self.decay}.")
        choice("averaging.encoder", self.encoder, JUDGED)
        choice("averaging.views", self.views, PASSED)
        if self.views != "none" and not self.decay:
            raise UserError(
                f"averaging.views={self.views} passes views through the averaged weights, and "
                "averaging.decay is 0: set averaging.decay, for instance to 0.99."
            )


class AveragedWeights(nn.Module):
    """Copies of networks whose parameters are averages.

    The copies require no gradients. They are part of the method, so they are saved and resumed with
    it.

    Args:
        decay: share of the average that is kept at each update.
        networks: networks by their name in the method; the copies are children of the same names.
        own_statistics: whether the copies have batch norm statistics of their own, which the crops
            that they pass move in train mode. Otherwise their statistics are averages, too, and
            they stay in eval mode.
    """

    def __init__(
        self, decay: float, networks: dict[str, nn.Module], *, own_statistics: bool = False
    ) -> None:
        super().__init__()
        self.decay = decay
        self.own_statistics = own_statistics
        for name, network in networks.items():
            self.add_module(name, copied(network).requires_grad_(False))
        self.train()

    def train(self, mode: bool = True) -> "AveragedWeights":
        """Stay in eval mode, unless the copies have batch norm statistics of their own."""
        return super().train(mode and self.own_statistics)

    @torch.no_grad()
    def update(self, method: nn.Module) -> None:
        """Move the average towards the networks of the same names in ``method``."""
        floats: tuple[list[Tensor], list[Tensor]] = ([], [])
        for name, average in self.named_children():
            network: nn.Module = getattr(method, name)
            for ours, theirs in zip(self._moved(average), self._moved(network), strict=True):
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

    def _moved(self, network: nn.Module) -> Iterator[Tensor]:
        yield from network.parameters()
        if not self.own_statistics:
            yield from network.buffers()
