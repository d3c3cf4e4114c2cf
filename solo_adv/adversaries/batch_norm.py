"""Controls batch norm during forward passes other than the one that updates the weights."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from solo_adv.support.checks import choice

POLICIES = ("train_frozen", "eval", "train")


def check_policy(policy: str) -> str:
    """Return ``policy``, or raise a UserError if it is not one of ``POLICIES``."""
    choice("adversary.batch_norm", policy, POLICIES)
    return policy


@contextmanager
def batch_norm_during_attack(model: nn.Module, policy: str) -> Iterator[None]:
    """Set the batch norm of ``model`` for the passes of an attack, and reset it afterwards.

    - ``train_frozen``: the passes normalise by batch statistics, as the update will, and leave the
      running statistics unchanged.
    - ``eval``: the passes normalise by the running statistics and leave them unchanged.
    - ``train``: the passes normalise by batch statistics, and each pass updates the running
      statistics. The reference code does this: with 5 PGD steps they are updated six times in an
      iteration instead of once.
    """
    layers = _in_training(model)
    changed = [m for m in layers if m.track_running_stats]
    try:
        if policy == "eval":
            for layer in layers:
                layer.training = False
        elif policy == "train_frozen":
            for layer in changed:
                layer.track_running_stats = False
        yield
    finally:
        for layer in layers:
            layer.training = True
        for layer in changed:
            layer.track_running_stats = True


@contextmanager
def running_statistics_restored(model: nn.Module) -> Iterator[None]:
    """Reset every running statistic of ``model`` at the end to its value at the start.

    This serves passes that repeat earlier ones, as those of ``torch.utils.checkpoint`` do: their
    statistics have been counted already.
    """
    moved: list[Tensor] = [
        buffer
        for layer in _in_training(model)
        if layer.track_running_stats
        for buffer in layer.buffers()
    ]
    before = [buffer.clone() for buffer in moved]
    try:
        yield
    finally:
        for buffer, value in zip(moved, before, strict=True):
            buffer.copy_(value)


def _in_training(model: nn.Module) -> list[_BatchNorm]:
    return [m for m in model.modules() if isinstance(m, _BatchNorm) and m.training]
