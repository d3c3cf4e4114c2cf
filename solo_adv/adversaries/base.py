"""The interface of adversaries that the training step uses."""

from typing import Any

from torch import Tensor

from solo_adv.adversaries.ball import Ball, LossOf


class Adversary:
    """The base class of adversaries. It leaves the crops as they are.

    All methods share one training step, which is::

        for _ in range(adversary.replays):
            delta = adversary.perturb(crops, loss_of)
            loss = objective(crops + delta); backward; optimizer step
            adversary.update(crops, delta)
    """

    replays: int = 1
    """Optimizer steps taken on each batch."""
    batch_norm: str = "train_frozen"
    """Policy of batch norm during the passes that :meth:`perturb` makes (see ``batch_norm.py``)."""

    accumulate_gradients: bool = False
    """Whether these passes also add to the gradients of the model's parameters."""

    ball: Ball | None = None
    """The perturbations that it may add to a crop; None if it adds nothing."""

    compiled: bool = False
    """Whether torch.compile compiles its steps."""

    crafting_passes: int = 0
    """How many forward-and-backward passes :meth:`perturb` makes for each batch."""

    @property
    def passes(self) -> int:
        """Forward-and-backward passes of each attacked crop of a batch, the unit of compute."""
        return self.replays + self.crafting_passes

    def perturb(self, crops: Tensor, loss_of: LossOf) -> Tensor | None:
        """Find the perturbation of ``crops``.

        Unless ``accumulate_gradients`` is true, this neither computes nor changes gradients of the
        model's parameters.

        Args:
            crops: clean crops (N, 3, H, W), pixels in [0, 1].
            loss_of: the loss of perturbed crops, which the adversary ascends.

        Returns:
            The perturbation (N, 3, H, W) to add to the crops, or None to add nothing. If it
            requires a gradient, :meth:`update` finds in its ``grad`` the gradient that the backward
            pass of the optimizer step computed.
        """
        return None

    def update(self, crops: Tensor, delta: Tensor | None) -> None:
        """Take notice of an optimizer step on ``crops + delta``, as :meth:`perturb` returned it.

        The training step calls this after each optimizer step.
        """

    def state_dict(self) -> dict[str, Any]:
        """The state that a resumed run needs in addition to the settings."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state that :meth:`state_dict` returned."""
