"""Rewrites the updates of the paper's reference code plainly, in a function for each method.

Every function trains a :class:`Run` on one batch, which consists of the crops ``views`` (a list of
V tensors (B, 3, h, w) in [0, 1]) and ``labels`` (B,). Hyper-parameters are the scripts' defaults.

Source:
    softsys4ai/CF-AMC-SSL at ff36114: the six ``main_*.py``, ``lars.py`` and ``loss.py``.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor, nn

from benchmarks.loss import naive_emp_loss, naive_sup_con

LR, MOMENTUM, DECAY, TRUST = 0.3, 0.9, 1e-4, 0.005
EPSILON, STEP, STEPS, REPLAYS = 8 / 255, 0.01, 5, 3


class Taken(NamedTuple):
    """What is known about an update that was taken."""

    loss: Tensor
    delta: Tensor | None
    """The perturbation that the weights were trained against."""
    gradients: dict[str, Tensor]
    before: dict[str, Tensor]
    """Weights and buffers after the backward pass and before the update of the weights."""


@dataclass
class Run:
    """A network in training.

    Attributes:
        network: maps pixels to embeddings of unit length.
        batches: number of batches in the whole run. After as many updates the learning rate is 0
            for the first time.
        delta: the perturbation that free training carries from batch to batch.
        velocity: momentum of each weight.
        taken: all updates so far.
    """

    network: nn.Module
    batches: int
    delta: Tensor | None = None
    velocity: dict[str, Tensor] = field(default_factory=dict)
    taken: list[Taken] = field(default_factory=list)

    def update(self, loss: Tensor, delta: Tensor | None = None) -> None:
        """Add the loss's gradient to those of the weights, and take a step of SGD with LARS.

        The learning rate follows a cosine, which continues after half a period.
        """
        loss.backward()
        weights = dict(self.network.named_parameters())
        gradients = {name: weight.grad.clone() for name, weight in weights.items()}
        before = {name: value.clone() for name, value in self.network.state_dict().items()}
        rate = LR * (1 + math.cos(math.pi * len(self.taken) / self.batches)) / 2
        self.taken.append(Taken(loss.detach(), delta, gradients, before))
        for name, weight in weights.items():
            velocity = self.velocity.get(name, torch.zeros_like(weight))
            self.velocity[name] = moved(weight, velocity, rate)


@torch.no_grad()
def moved(weight: Tensor, velocity: Tensor, rate: float, decay: float = DECAY) -> Tensor:
    """Move a weight by SGD with Nesterov momentum under LARS; return its new velocity.

    LARS adapts the rates of matrices and kernels, never above the learning rate, and weight decay
    applies only to them. Vectors (biases, batch norm) follow their plain gradient.
    """
    direction = weight.grad
    if weight.ndim > 1:
        norm, slope = weight.norm(), direction.norm()
        trust = (TRUST * norm / (slope + decay * norm + 1e-8)).item()
        direction = (direction + decay * weight) * (min(trust / rate, 1) if rate else 1)
    velocity = MOMENTUM * velocity + direction
    weight -= rate * (direction + MOMENTUM * velocity)
    return velocity


def ascended(delta: Tensor, crops: Tensor) -> Tensor:
    """Move the perturbation along the gradient in ``delta.grad``, within ball and pixel box."""
    stepped = (delta.detach() + STEP * delta.grad.sign()).clamp(-EPSILON, EPSILON)
    return (crops + stepped).clamp(0, 1) - crops


def attacked(crops: Tensor, loss_of: Callable[[Tensor], Tensor]) -> Tensor:
    """Attack by PGD from zero. Its backward passes add gradients to the weights', too."""
    delta = torch.zeros_like(crops)
    for _ in range(STEPS):
        delta.requires_grad_()
        loss_of(crops + delta).backward()
        delta = ascended(delta, crops)
    return delta


def replayed(run: Run, crops: Tensor, loss_of: Callable[[Tensor], Tensor]) -> None:
    """Free training, in which a batch's first replay uses the last batch's perturbation."""
    if run.delta is None:
        run.delta = torch.zeros_like(crops)
    for _ in range(REPLAYS):
        run.network.zero_grad()
        delta = run.delta.clone().requires_grad_()
        run.update(loss_of(crops + delta), run.delta)
        run.delta = ascended(delta, crops)


def emp(run: Run, pixels: Tensor, views: list[Tensor]) -> Tensor:
    """The EMP loss of all crops, which pass through the network together."""
    return naive_emp_loss(run.network(pixels).unflatten(0, (len(views), -1)))


def pair(run: Run, first: Tensor, second: Tensor, labels: Tensor | None = None) -> Tensor:
    """The contrastive loss of two views, which pass through the network one after the other."""
    z = torch.stack([run.network(first), run.network(second)])
    return naive_sup_con(z, torch.arange(len(first)) if labels is None else labels)


def emp_ssl(run: Run, views: list[Tensor], labels: Tensor) -> None:
    """The update of ``main_empssl.py``."""
    run.network.zero_grad()
    run.update(emp(run, torch.cat(views), views))


def robust_emp(run: Run, views: list[Tensor], labels: Tensor) -> None:
    """The update of ``main_empssl_adv.py``."""
    crops = torch.cat(views)
    run.network.zero_grad()
    delta = attacked(crops, lambda pixels: emp(run, pixels, views))
    run.update(emp(run, crops + delta, views), delta)


def cfamc(run: Run, views: list[Tensor], labels: Tensor) -> None:
    """The update of ``main_empssl_free_adv.py``."""
    replayed(run, torch.cat(views), lambda pixels: emp(run, pixels, views))


def simclr(run: Run, views: list[Tensor], labels: Tensor) -> None:
    """The update of ``main_simclr.py``."""
    run.network.zero_grad()
    run.update(pair(run, *views))


def robust_simclr(run: Run, views: list[Tensor], labels: Tensor) -> None:
    """The update of ``main_simclr_adv.py``, which attacks the second view against itself."""
    first, second = views
    run.network.zero_grad()
    delta = attacked(second, lambda pixels: pair(run, second, pixels))
    run.update(pair(run, first, second + delta), delta)


def simclr_freeadv(run: Run, views: list[Tensor], labels: Tensor) -> None:
    """The update of ``main_simclr_free_adv.py``."""
    first, second = views
    replayed(run, second, lambda pixels: pair(run, first, pixels))


def supervised_freeadv(run: Run, views: list[Tensor], labels: Tensor) -> None:
    """The update of ``main_simclr_free_adv.py --method SupCon``."""
    first, second = views
    replayed(run, second, lambda pixels: pair(run, first, pixels, labels))
