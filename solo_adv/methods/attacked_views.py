"""Which views are attacked, which pass together, and which loss an attack ascends."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

from solo_adv.adversaries import PGD, Adversary, LossOf
from solo_adv.encoders.batch_norms import ATTACKED, CLEAN
from solo_adv.methods.teacher import FORWARD
from solo_adv.support.checks import choice
from solo_adv.support.errors import UserError

VIEWS = ("all", "both", "second", "twins")
PAIRS = ("cross", "self")
FORWARDS = ("joint", "separate", "by_view")
SELF_VIEWS = ("once", "every_step")


class Group(NamedTuple):
    """Crops that pass through the network together and share their batch statistics."""

    pixels: Tensor
    branch: str
    """The batch norm that they use if there are two: ``clean`` or ``attacked``."""
    averaged: bool = False
    """Whether they pass through the averaged networks instead of the trained ones."""


@dataclass(frozen=True, kw_only=True)
class AttackedViews:
    """Keys of the ``adversary`` section that the adversary itself does not have.

    Attributes:
        views: which views are attacked. ``all`` attacks all of them (``both`` is the same for two
            views); ``second`` attacks all but the first, which stays clean; with ``twins`` every
            crop takes part twice, once clean and once attacked.
        forward: how views pass through the network. With ``joint`` clean and attacked views pass
            together and share their batch statistics. With ``separate`` the clean views pass first,
            then the attacked ones, so that each kind has its own batch statistics and the running
            statistics move twice. With ``by_view`` every view passes separately, as in solo-learn's
            methods.
        pair: which loss PGD ascends. ``cross`` is the loss of the update itself. ``self`` is the
            loss between the attacked views and the same views without perturbation, as in the
            reference code's SimCLR.
        self_view: how these clean views pass through the network under ``pair=self``: ``once`` a
            batch without gradient, or at ``every_step`` of the attack with gradient, as in the
            reference code's SimCLR, where the running statistics therefore move once more at every
            step.

    Source:
        Reference code ``main_simclr_adv.py``; the paper's section 2.2.1 leaves all of it open.
    """

    views: str = "all"
    forward: str = "joint"
    pair: str = "cross"
    self_view: str = "once"

    def __post_init__(self) -> None:
        choice("adversary.views", self.views, VIEWS)
        choice("adversary.forward", self.forward, FORWARDS)
        choice("adversary.pair", self.pair, PAIRS)
        choice("adversary.self_view", self.self_view, SELF_VIEWS)

    @staticmethod
    def keys(adversary: type[Adversary]) -> tuple[str, ...]:
        """The keys that have a meaning for an adversary."""
        if adversary is Adversary:
            return ("forward",)
        crafted = ("pair", "self_view") if issubclass(adversary, PGD) else ()
        return ("views", "forward", *crafted)

    def check(self, *, num_crops: int, batch_norms: int, momentum: bool = False) -> None:
        """Refuse settings that contradict the number of crops, of batch norms or of networks.

        Args:
            num_crops: number of crops drawn from an image.
            batch_norms: 2 if clean views have batch norms of their own, else 1.
            momentum: whether averaged networks pass all crops but the first
                (``averaging.views=second``).

        Raises:
            UserError: the settings contradict one of them.
        """
        if momentum and self.forward == "joint":
            raise UserError(
                "averaging.views=second passes views through another network, and "
                "adversary.forward=joint passes all together: use adversary.forward=separate."
            )
        if momentum and self.views == "second":
            raise UserError(
                "averaging.views=second passes all crops but the first through the averaged "
                "weights, and adversary.views=second attacks only those, so no attacked crop would "
                "train the network: use adversary.views=twins or all."
            )
        if momentum and num_crops < 2:
            raise UserError(
                f"averaging.views=second needs crops.num_crops of at least 2; got {num_crops}."
            )
        if num_crops < 2 and self.views == "second":
            raise UserError("adversary.views=second needs crops.num_crops of at least 2; got 1.")
        if batch_norms == 2 and self.views in ("all", "both"):
            raise UserError(
                f"backbone.batch_norms=2 keeps one batch norm for clean views, and "
                f"adversary.views={self.views} has no clean view: use adversary.views=twins or "
                "second, or backbone.batch_norms=1."
            )
        if batch_norms == 2 and self.forward == "joint":
            raise UserError(
                "backbone.batch_norms=2 gives clean and attacked views separate batch statistics, "
                "and adversary.forward=joint makes them share: use adversary.forward=separate."
            )

    def count(self, num_crops: int) -> int:
        """How many views of an image the objective sees if ``num_crops`` crops are drawn."""
        return 2 * num_crops if self.views == "twins" else num_crops

    def crops_needed(self, views: int) -> int:
        """How many crops must be drawn for the objective to see at least so many views."""
        return -(-views // self.count(1))

    def holds_clean(self, adversary: Adversary) -> bool:
        """Whether an attack may pass the clean views once a batch instead of at every step.

        It may if their outputs depend neither on the attacked views nor on the step.
        """
        apart = self.forward != "joint" or adversary.batch_norm == "eval"
        return apart and adversary.batch_norm != "train" and not adversary.accumulate_gradients

    def passes(
        self,
        adversary: Adversary,
        *,
        num_crops: int,
        taught: bool,
        momentum: bool = False,
        plain: bool = False,
    ) -> float:
        """Crop passes (forward and backward of one crop) that a batch costs for each image.

        Every replay passes all views once. A step of the attack passes the attacked views. It also
        passes the clean ones, unless they are passed only once a batch; that single forward pass is
        not counted. A forward pass without a backward pass, of a teacher or in the update of a
        momentum encoder, counts as a third of a crop pass.

        Args:
            adversary: the adversary.
            num_crops: number of crops drawn from an image.
            taught: whether a teacher sees every crop.
            momentum: whether averaged networks pass all crops but the first.
            plain: whether every update also passes the image without augmentation.
        """
        clean = {"second": 1, "twins": num_crops}.get(self.views, 0)
        attacked = num_crops - 1 if self.views == "second" else num_crops
        crafted = attacked
        if self.pair == "self":
            crafted *= 2 if self.self_view == "every_step" else 1
        elif not self.holds_clean(adversary):
            crafted += clean
        updating: float = clean + attacked + plain
        if momentum:
            forward_only = max(clean - 1, 0)
            if adversary.ball is None or adversary.crafting_passes:
                forward_only += attacked - 1  # else the update's backward pass reaches these crops
            updating -= forward_only * (1 - FORWARD)
        passes = updating * adversary.replays + crafted * adversary.crafting_passes
        return passes + num_crops * FORWARD if taught else passes

    def split(self, crops: Tensor, batch: int) -> tuple[Tensor, Tensor]:
        """Split crops (V*B, ...), view-major, into those that stay clean and those to attack.

        Under ``twins`` both parts have all crops.

        Args:
            crops: the crops, or anything else with a row for each crop.
            batch: B, the number of images in the batch.
        """
        if self.views == "twins":
            return crops, crops
        start = batch if self.views == "second" else 0
        return crops[:start], crops[start:]

    def groups(
        self, clean: Tensor, attacked: Tensor, batch: int, *, momentum: bool = False
    ) -> list[Group]:
        """Form the groups of crops that pass through a network together, clean ones first.

        Args:
            clean: crops that stay clean (M, 3, h, w). M may be 0.
            attacked: crops that are attacked (N, 3, h, w). N may be 0.
            batch: B, the number of images in the batch.
            momentum: whether averaged networks pass all crops but the first of each kind.
        """
        if self.forward == "joint":
            return [Group(join(clean, attacked), ATTACKED)]

        def pieces(part: Tensor) -> Sequence[Tensor]:
            if self.forward == "by_view" and len(part):  # some fake tensors cannot split nothing
                return part.split(batch)
            return (part[:batch], part[batch:]) if momentum else (part,)

        return [
            Group(piece, kind, averaged=momentum and place > 0)
            for part, kind in ((clean, CLEAN), (attacked, ATTACKED))
            for place, piece in enumerate(pieces(part))
            if len(piece)
        ]

    def crafting_loss(
        self,
        clean: Tensor,
        attacked: Tensor,
        embed: Callable[[Tensor, Tensor], Tensor],
        loss: LossOf,
        *,
        hold_clean: bool,
    ) -> LossOf:
        """The loss that the attack ascends, as a function of the perturbed crops.

        Args:
            clean: crops that stay clean (M, 3, h, w).
            attacked: crops to attack (N, 3, h, w), without perturbation.
            embed: takes clean and attacked crops and returns the embeddings (M + N, D) of both, in
                that order.
            loss: takes such embeddings and returns the scalar loss.
            hold_clean: whether the clean crops pass through the network once instead of at every
                step, because their embeddings do not depend on the perturbation.
        """
        nothing = attacked[:0]
        if self.pair == "self":
            clean, again = attacked, self.self_view == "every_step"
        else:
            again = not hold_clean
        if not len(clean) or (again and self.pair == "cross"):
            return lambda perturbed: loss(embed(clean, perturbed))
        if again:
            return lambda perturbed: loss(
                torch.cat([embed(clean, nothing), embed(nothing, perturbed)])
            )

        @cache  # computed at the first step of an attack; free training never needs it
        def held() -> Tensor:
            with torch.no_grad():
                return embed(clean, nothing)

        return lambda perturbed: loss(torch.cat([held(), embed(nothing, perturbed)]))


def join(clean: Tensor, attacked: Tensor) -> Tensor:
    """Join clean and attacked crops in one tensor, without a copy if one of them is empty."""
    if not len(clean):
        return attacked
    return torch.cat([clean, attacked]) if len(attacked) else clean
