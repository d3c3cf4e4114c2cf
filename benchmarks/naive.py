"""A naive training step, written plainly and like the reference code.

Everything is in float32 and NCHW. The loss goes view by view with a D x D determinant, PGD computes
weight gradients as well, free training keeps its perturbation on the CPU, and LARS updates one
tensor at a time.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.loss import naive_emp_loss
from solo_adv.methods.optim import build_optimizer

LARS: dict[str, Any] = {
    **{"momentum": 0.9, "nesterov": True, "eta": 0.005},
    **{"clip_lr": True, "exclude_bias_n_norm": True},
}
"""The options of LARS in the paper's code."""


class NaiveStep:
    """Steps of EMP-SSL and its two adversarial forms on ready crops.

    Args:
        embed: Maps pixels (N, 3, h, w) to embeddings (N, D).
        parameters: The parameters to train.
        views: Number of views V of the crops (V*B, 3, h, w).
        epsilon, step_size: Radius and step of the adversary, fractions of the pixel range.
        replays: Replays of free training. With 1 and ``steps=0`` there is no adversary.
        steps: Steps of PGD.
    """

    def __init__(
        self,
        embed: Callable[[Tensor], Tensor],
        parameters: list[nn.Parameter],
        *,
        views: int,
        epsilon: float = 8 / 255,
        step_size: float = 0.01,
        replays: int = 1,
        steps: int = 0,
    ) -> None:
        self.embed = embed
        self.views = views
        self.epsilon, self.step_size = epsilon, step_size
        self.replays, self.steps = replays, steps
        self.optimizer = build_optimizer(
            "lars", [{"params": parameters}], lr=0.3, weight_decay=1e-4, **LARS
        )
        for group in self.optimizer.param_groups:
            group["foreach"] = False
        self.carried: Tensor | None = None

    def __call__(self, crops: Tensor) -> Tensor:
        """Make all updates of a batch of crops (V*B, 3, h, w); returns the last loss."""
        if self.steps:
            return self._pgd(crops)
        if self.replays > 1:
            return self._free(crops)
        return self._update(self._loss(crops))

    def _pgd(self, crops: Tensor) -> Tensor:
        delta = torch.zeros_like(crops)
        for _ in range(self.steps):
            delta.requires_grad_(True)
            self._loss(crops + delta).backward()
            delta = self._ascend(delta, crops)
        return self._update(self._loss(crops + delta))

    def inner_step(self, crops: Tensor) -> Callable[[], object]:
        """One step of PGD on ready crops, so that it can be timed separately."""

        def work() -> Tensor:
            delta = torch.zeros_like(crops).requires_grad_(True)
            self._loss(crops + delta).backward()
            return self._ascend(delta, crops)

        return work

    def _free(self, crops: Tensor) -> Tensor:
        carried = torch.zeros_like(crops, device="cpu") if self.carried is None else self.carried
        carried = torch.clamp(crops.cpu() + carried, 0, 1) - crops.cpu()
        for _ in range(self.replays):
            delta = carried.to(crops.device).requires_grad_(True)
            loss = self._update(self._loss(crops + delta))
            carried = self._ascend(delta, crops).cpu()
        self.carried = carried
        return loss

    def _ascend(self, delta: Tensor, crops: Tensor) -> Tensor:
        assert delta.grad is not None
        moved = delta.detach() + self.step_size * delta.grad.sign()
        moved = torch.clamp(moved, -self.epsilon, self.epsilon)
        return torch.clamp(crops + moved, 0, 1) - crops

    def _loss(self, pixels: Tensor) -> Tensor:
        z = F.normalize(self.embed(pixels), dim=1)
        return naive_emp_loss(torch.stack(z.chunk(self.views)))

    def _update(self, loss: Tensor) -> Tensor:
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.detach()
