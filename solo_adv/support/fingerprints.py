"""Short hashes that show whether a file on disk belongs to what is being measured."""

import hashlib
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

DIGITS = 16


def fingerprint(*parts: object) -> str:
    """The fingerprint of plain values, computed from their ``repr``."""
    return hashlib.sha256("\0".join(map(repr, parts)).encode()).hexdigest()[:DIGITS]


def weights_fingerprint(state: Mapping[str, Tensor]) -> str:
    """The fingerprint of named tensors.

    It changes with every bit of them, but not with their order or the version of torch.
    """
    return _tensors(hashlib.sha256(), sorted(state.items()))


def model_fingerprint(model: nn.Module) -> str:
    """The fingerprint of a network: of its ``repr`` and of every bit of its weights."""
    return _tensors(hashlib.sha256(repr(model).encode()), model.state_dict().items())


def _tensors(digest: "hashlib._Hash", named: Iterable[tuple[str, Tensor]]) -> str:
    for name, tensor in named:
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        plain = tensor.detach().cpu().contiguous().reshape(-1)
        digest.update(plain.view(torch.uint8).numpy().data if plain.numel() else b"")
    return digest.hexdigest()[:DIGITS]
