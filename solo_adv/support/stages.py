"""Schedules that stay constant within equal stages of a run."""

from __future__ import annotations

from math import floor
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from torch import Tensor

    Progress = TypeVar("Progress", float, Tensor)


def start_of_stage(progress: Progress, stages: int) -> Progress:
    """The share of the run that was done when the current stage began.

    Args:
        progress: share of the run that is done, from 0 to 1, as a float or a scalar tensor.
        stages: number of equal stages of the run; 0 returns ``progress`` itself.
    """
    if not stages:
        return progress
    if isinstance(progress, float | int):
        return min(floor(progress * stages + 1e-9), stages - 1) / stages
    # Float32 has errors of up to 1e-7 of the progress.
    return (progress * stages + 1e-5).floor().clamp(max=stages - 1) / stages
