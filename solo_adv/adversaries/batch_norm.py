"""What forward passes beside the update's own may do to batch normalisation."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from solo_adv.support.checks import choice

POLICIES = ("train_frozen", "eval", "train")


def check_policy(policy: str) -> str:
    """``policy`` if it is one of ``POLICIES``."""
    choice("adversary.batch_norm", policy, POLICIES)
    return policy


@contextmanager
def batch_norm_during_attack(model: nn.Module, policy: str) -> Iterator[None]:
    """Run the attack's passes through ``model`` under a policy, and restore every flag afterwards.

    - ``train_frozen``: batch statistics, as the update will use; running statistics untouched.
    - ``eval``: running statistics, untouched.
    - ``train``: batch statistics, and every attack pass moves the running statistics: what the
      reference code does (six updates an iteration instead of one with 5 PGD steps).
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
    """Give every running statistic of ``model`` the value afterwards that it had before.

    For passes that must do in between just what others did, as those of ``torch.utils.checkpoint``.
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
