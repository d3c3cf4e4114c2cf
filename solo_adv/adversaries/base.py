"""The interface of adversaries that the training step uses."""

from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from solo_adv.adversaries.ball import Ball, LossOf
from solo_adv.adversaries.schedule import AttackSchedule
from solo_adv.support.pixels import PixelCheck


class Adversary:
    """The base class of adversaries. It leaves the crops as they are.

    All methods share one training step, which is::

        adversary.progress = progress
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
    """The perturbations that it may add to a crop at full strength; None if it adds nothing."""

    step_size: float = 0.0
    """Length of a step at full strength."""

    compiled: bool = False
    """Whether torch.compile compiles its steps."""

    schedule: AttackSchedule = AttackSchedule()
    """How its strength changes over the run."""

    progress: float = 0.0
    """How much of the run is done, from 0 to 1. The training step sets it for every batch."""

    @cached_property
    def check_pixels(self) -> PixelCheck:
        """Refuses crops that are not pixels; every :meth:`perturb` calls it first.

        Outside [0, 1], a perturbation that keeps pixels in the box would leave the ball.
        """
        return PixelCheck("Attacks", stacked=True)

    @property
    def ball_now(self) -> Ball:
        """The ball at the current strength."""
        assert self.ball is not None
        strength = self.schedule.strength(self.progress)
        return self.ball if strength == 1.0 else self.ball.scaled(strength)

    @property
    def extra_steps(self) -> int:
        """The steps that the schedule currently adds before each update."""
        return self.schedule.extra_steps(self.progress)

    @property
    def steps_now(self) -> int:
        """The steps, each a forward-and-backward pass, that :meth:`perturb` currently makes."""
        return self.extra_steps

    @property
    def crafting_passes(self) -> int:
        """How many forward-and-backward passes :meth:`perturb` currently makes for each batch."""
        return self.replays * self.steps_now

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

        Raises:
            UserError: the crops are not float images with pixels in [0, 1].
        """
        return None

    def ascend(self, delta: Tensor, crops: Tensor, loss_of: LossOf, steps: int) -> Tensor:
        """Take steps up the loss from ``delta`` (N, 3, H, W), which it may change in place.

        Args:
            delta: the perturbation to start from.
            crops: clean crops (N, 3, H, W), pixels in [0, 1].
            loss_of: the loss of perturbed crops.
            steps: number of steps.

        Returns:
            The perturbation after the last step, detached.
        """
        for _ in range(steps):
            delta = delta.detach().requires_grad_(True)
            with torch.enable_grad():
                gradient = self._gradient(loss_of(crops + delta), delta)
            delta = self.stepped(delta, gradient, crops)
        return delta

    def stepped(self, delta: Tensor, gradient: Tensor, crops: Tensor) -> Tensor:
        """``delta`` (N, 3, H, W) after a step up ``gradient`` at the current strength."""
        return self.ball_now.step(
            delta.detach(),
            gradient,
            crops,
            step_size=self.step_size * self.schedule.strength(self.progress),
            # A radius that changes with every batch would be compiled again for every batch.
            compiled=self.compiled and not self.schedule.ramp,
        )

    def _gradient(self, loss: Tensor, delta: Tensor) -> Tensor:
        if self.accumulate_gradients:
            loss.backward()
            assert delta.grad is not None
            return delta.grad
        return torch.autograd.grad(loss, delta)[0]

    def update(self, crops: Tensor, delta: Tensor | None) -> None:
        """Take notice of an optimizer step on ``crops + delta``, as :meth:`perturb` returned it.

        The training step calls this after each optimizer step.
        """

    def state_dict(self) -> dict[str, Any]:
        """The state that a resumed run needs in addition to the settings."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state that :meth:`state_dict` returned."""
