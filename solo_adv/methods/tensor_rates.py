"""Steps an optimiser whose learning rates are tensors, as a recorded graph needs them."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.optim import Optimizer

from solo_adv.support.errors import UserError
from solo_adv.support.signatures import constructor

_FUSED = {"fused": True, "foreach": False}
_OPTIONS: dict[str, dict[str, Any]] = {
    "sgd": _FUSED,
    "adam": {**_FUSED, "capturable": True},
    "adamw": {**_FUSED, "capturable": True},
    "lars": {"foreach": True},
}
"""For each optimiser the options with which it takes a rate from a tensor without reading it."""


def check_takes_tensors(name: str) -> None:
    """Refuse an optimiser whose step cannot be recorded.

    Raises:
        UserError: the installed LARS reads its learning rate.
    """
    if name == "lars" and "foreach" not in constructor("timm.optim.lars", "Lars"):
        raise UserError(
            "performance.graph=replay records the optimiser's step, and LARS of this version of "
            "timm reads its learning rate in it: install a newer timm (1.0.31 was tried), or use "
            "performance.graph=none."
        )


class TensorRates:
    """The learning rates of an optimiser's groups as tensors on a device.

    The groups keep their rates as numbers, which schedules, logs and checkpoints read. Only while
    :meth:`step` runs are the tensors in their place.

    Args:
        optimizer: the optimiser.
        name: its name, a key of ``optim.OPTIMIZERS``.
        device: where its parameters are.
    """

    def __init__(self, optimizer: Optimizer, name: str, device: torch.device) -> None:
        self.optimizer = optimizer
        self._options = _OPTIONS[name]
        single = torch.float32  # fused kernels of CUDA read no other type
        self._rates = [torch.zeros((), dtype=single, device=device) for _ in optimizer.param_groups]
        for state in optimizer.state.values():
            if "step" in state:  # a resumed Adam counts its steps on the CPU
                state["step"] = state["step"].to(device)

    def refresh(self) -> None:
        """Copy the groups' current rates into the tensors, without waiting for the device."""
        for rate, group in zip(self._rates, self.optimizer.param_groups, strict=True):
            rate.fill_(group["lr"])

    def step(self) -> None:
        """Step the optimiser with the rates that the tensors hold."""
        with self._in_place():
            self.optimizer.step()

    @contextmanager
    def _in_place(self) -> Iterator[None]:
        groups = self.optimizer.param_groups
        before = [{key: group[key] for key in ("lr", *self._options)} for group in groups]
        try:
            for group, rate in zip(groups, self._rates, strict=True):
                group.update(self._options, lr=rate)
            yield
        finally:
            for group, values in zip(groups, before, strict=True):
                group.update(values)
