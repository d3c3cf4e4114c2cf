"""Random numbers that depend on the attack and the batch, but not on the process or the time."""

import torch

from solo_adv.support.hashes import sha256


def generator_for(
    seed: int, attack: int, batch: int, *, device: torch.device | str
) -> torch.Generator:
    """The generator for one attack on one batch. It draws the same numbers in every process."""
    digits = sha256([f"{seed} {attack} {batch}".encode()])
    return torch.Generator(device).manual_seed(int(digits[:14], 16))
