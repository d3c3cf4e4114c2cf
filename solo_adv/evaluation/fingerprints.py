"""Short hashes that tell whether something on disk belongs to what is being measured."""

import hashlib

import torch
from torch import nn

DIGITS = 16


def fingerprint(*parts: object) -> str:
    """Of plain values, by how they print."""
    return hashlib.sha256("\0".join(map(repr, parts)).encode()).hexdigest()[:DIGITS]


def model_fingerprint(model: nn.Module) -> str:
    """Of a network's structure, settings (as it prints) and weights, to the last bit."""
    digest = hashlib.sha256(repr(model).encode())
    for name, tensor in model.state_dict().items():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        plain = tensor.detach().cpu().contiguous().reshape(-1)
        digest.update(plain.view(torch.uint8).numpy().data if plain.numel() else b"")
    return digest.hexdigest()[:DIGITS]
