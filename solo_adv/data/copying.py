"""Batches on their way to a CUDA device while it works on the one before."""

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor


def copy_ahead(batches: Iterable[Any], device: torch.device | None) -> Iterator[Any]:
    """The batches on ``device``, each copied on a stream of its own while the last one is used.

    Copies overlap with work only from page-locked memory. Where the device is not a CUDA device
    the batches pass as they are.

    Args:
        batches: tensors, or lists of them, however nested.
        device: where to; None: nowhere.
    """
    if device is None or device.type != "cuda":
        yield from batches
        return
    stream = torch.cuda.Stream(device)
    ahead: tuple[Any, torch.cuda.Event] | None = None
    for batch in batches:
        with torch.cuda.stream(stream):
            copied = _copy(batch, device), stream.record_event()
        if ahead is not None:
            yield _arrived(*ahead, device)
        ahead = copied
    if ahead is not None:
        yield _arrived(*ahead, device)


def _copy(batch: Any, device: torch.device) -> Any:
    if isinstance(batch, Tensor):
        return batch.to(device, non_blocking=True)
    return [_copy(part, device) for part in batch]


def _arrived(batch: Any, event: torch.cuda.Event, device: torch.device) -> Any:
    current = torch.cuda.current_stream(device)
    current.wait_event(event)
    _record(batch, current)
    return batch


def _record(batch: Any, stream: torch.cuda.Stream) -> None:
    """Keep the memory, which the copying stream owns, until the using stream is done with it."""
    if isinstance(batch, Tensor):
        batch.record_stream(stream)
    else:
        for part in batch:
            _record(part, stream)
