"""Random numbers that depend on what is attacked, and not on who attacks it or when."""

import hashlib

import torch


def generator_for(
    seed: int, attack: int, batch: int, *, device: torch.device | str
) -> torch.Generator:
    """The random numbers of one attack on one batch: the same in any process, at any time."""
    digest = hashlib.sha256(f"{seed} {attack} {batch}".encode()).digest()
    return torch.Generator(device).manual_seed(int.from_bytes(digest[:7], "big"))
