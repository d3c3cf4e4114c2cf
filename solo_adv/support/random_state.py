"""Torch's global random states: the CPU's, and that of a device that has its own."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


def has_random_state(device: torch.device | str) -> bool:
    """Whether a device draws from its own global random state, which a checkpoint must keep.

    That of MPS cannot be asked for by device and is left alone.
    """
    return torch.device(device).type not in ("cpu", "mps", "meta")


@contextmanager
def random_state_kept(device: torch.device | str) -> Iterator[None]:
    """Restore the global random states of the CPU and of ``device`` afterwards."""
    device = torch.device(device)
    if not has_random_state(device):
        with torch.random.fork_rng(devices=[]):
            yield
        return
    with torch.random.fork_rng(devices=[device], device_type=device.type):
        yield
