"""Short hashes that show whether a file on disk belongs to what is being measured."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from solo_adv.support.hashes import sha256

DIGITS = 16


def fingerprint(*parts: object) -> str:
    """The fingerprint of plain values, computed from their ``repr``."""
    return sha256(["\0".join(map(repr, parts)).encode()])[:DIGITS]


def weights_fingerprint(state: Mapping[str, Tensor]) -> str:
    """The fingerprint of named tensors.

    It changes with every bit of them, but not with their order or the version of torch.
    """
    return sha256(_bytes(sorted(state.items())))[:DIGITS]


def model_fingerprint(model: nn.Module) -> str:
    """The fingerprint of a network: of its ``repr`` and of every bit of its weights."""
    return sha256([repr(model).encode(), *_bytes(model.state_dict().items())])[:DIGITS]


def _bytes(named: Iterable[tuple[str, Tensor]]) -> Iterator[Any]:
    for name, tensor in named:
        yield f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode()
        plain = tensor.detach().cpu().contiguous().reshape(-1)
        yield plain.view(torch.uint8).numpy().data if plain.numel() else b""
