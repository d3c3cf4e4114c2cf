"""Random numbers that depend on the attack and the batch, but not on the process or the time."""

import hashlib

import torch


def generator_for(
    seed: int, attack: int, batch: int, *, device: torch.device | str
) -> torch.Generator:
    """The generator for one attack on one batch. It draws the same numbers in every process."""
    digest = hashlib.sha256(f"{seed} {attack} {batch}".encode()).digest()
    return torch.Generator(device).manual_seed(int.from_bytes(digest[:7], "big"))
