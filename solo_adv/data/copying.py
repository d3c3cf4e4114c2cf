"""Copies the next batch to a CUDA device while the device works on the current one."""

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor


def copy_ahead(batches: Iterable[Any], device: torch.device | None) -> Iterator[Any]:
    """Yield the batches on ``device``, copying each one while the one before it is in use.

    The copies run on a separate stream and overlap with other work only if they come from
    page-locked memory. If ``device`` is not a CUDA device, the batches pass through unchanged.

    Args:
        batches: tensors, or lists of tensors, nested to any depth.
        device: the device to copy to; None copies nothing.
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
    """Keep the copying stream from reusing the batch's memory while ``stream`` still reads it."""
    if isinstance(batch, Tensor):
        batch.record_stream(stream)
    else:
        for part in batch:
            _record(part, stream)
