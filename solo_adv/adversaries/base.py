"""What every adversary offers the training step."""

from typing import Any

from torch import Tensor

from solo_adv.adversaries.ball import Ball, LossOf


class Adversary:
    """Nobody: the crops stay as they are. Also the interface that the others fill in.

    The training step, the same for all methods, is::

        for _ in range(adversary.replays):
            delta = adversary.perturb(crops, loss_of)
            loss = objective(crops + delta); backward; optimizer step
            adversary.update(crops, delta)
    """

    replays: int = 1
    """Optimizer steps taken on each batch."""
    batch_norm: str = "train_frozen"
    """Policy during the passes that :meth:`perturb` makes (see ``batch_norm.py``)."""

    accumulate_gradients: bool = False
    """Whether these passes also add to the gradients of the model's parameters."""

    ball: Ball | None = None
    """What it may add to a crop; None if it adds nothing."""

    compiled: bool = False
    """Whether its own arithmetic goes through torch.compile."""

    crafting_passes: int = 0
    """Forward-and-backward passes of the attacked crops that :meth:`perturb` makes in a batch."""

    @property
    def passes(self) -> int:
        """Forward-and-backward passes of each attacked crop in a batch: the unit of compute."""
        return self.replays + self.crafting_passes

    def perturb(self, crops: Tensor, loss_of: LossOf) -> Tensor | None:
        """The perturbation to add to ``crops`` (N, 3, H, W), or None for none.

        If it requires a gradient, the update's own backward pass leaves it there for
        :meth:`update`. Gradients of the model's parameters are neither computed nor touched,
        unless ``accumulate_gradients`` says so.
        """
        return None

    def update(self, crops: Tensor, delta: Tensor | None) -> None:
        """Called after each optimizer step with what :meth:`perturb` returned."""

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs beyond the settings."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a :meth:`state_dict`."""
