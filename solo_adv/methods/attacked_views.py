"""Which views of an image are attacked, and on which pair of views the attack is crafted."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from solo_adv.adversaries import PGD, Adversary, LossOf
from solo_adv.support.checks import choice

VIEWS = ("all", "both", "second")
PAIRS = ("cross", "self")


@dataclass(frozen=True, kw_only=True)
class AttackedViews:
    """Keys of the ``adversary`` section beside the adversary's own.

    - ``views``: ``all`` (``both`` says the same of two), or ``second``: all but the first, which
      stays clean.
    - ``pair``, for an attack that is crafted before the update: ``cross``, on the loss of the
      update itself; ``self``, on the loss between the attacked views and their own clean selves
      (the reference code's SimCLR).

    Source:
        Reference code ``main_simclr_adv.py``; the paper's section 2.2.1 leaves it open.
    """

    views: str = "all"
    pair: str = "cross"

    def __post_init__(self) -> None:
        choice("adversary.views", self.views, VIEWS)
        choice("adversary.pair", self.pair, PAIRS)

    @staticmethod
    def keys(adversary: type[Adversary]) -> tuple[str, ...]:
        """The keys that make sense with an adversary."""
        if adversary is Adversary:
            return ()
        return ("views", "pair") if issubclass(adversary, PGD) else ("views",)

    def split(self, crops: Tensor, batch: int) -> tuple[Tensor, Tensor]:
        """Crops (V*B, ...), view-major, into those that stay clean and those that are attacked."""
        start = batch if self.views == "second" else 0
        return crops[:start], crops[start:]

    def crafting_loss(
        self, clean: Tensor, attacked: Tensor, embed: Callable[[Tensor], Tensor], loss: LossOf
    ) -> LossOf:
        """What the attack ascends, as a function of the attacked crops once perturbed.

        Args:
            clean: crops that stay clean.
            attacked: crops to be attacked, unperturbed.
            embed: from crops (N, 3, h, w) to embeddings (N, D).
            loss: from embeddings (N, D), view-major, to the objective.
        """
        if self.pair == "cross":
            return lambda perturbed: loss(embed(join(clean, perturbed)))
        with torch.no_grad():  # does not change while the attack is crafted
            own = embed(attacked)
        return lambda perturbed: loss(torch.cat([own, embed(perturbed)]))


def join(clean: Tensor, attacked: Tensor) -> Tensor:
    """The whole batch again, without a copy where nothing stays clean."""
    return torch.cat([clean, attacked]) if len(clean) else attacked
