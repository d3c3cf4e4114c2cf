"""Saves trained weights, so that a resumed evaluation loads them instead of training again."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch
from torch import nn

from solo_adv.support.errors import UserError
from solo_adv.support.files import write_whole
from solo_adv.support.processes import rank

M = TypeVar("M", bound=nn.Module)


def kept_weights(
    path: Path, template: M, train: Callable[[], M], part: Callable[[M], nn.Module]
) -> M:
    """Load a trained network from ``path``, or train it and let the first process save it there.

    Args:
        path: a file whose name tells this training apart from all others.
        template: the network into which saved weights are loaded.
        train: trains the network.
        part: returns the part of the network that is trained and saved.

    Raises:
        UserError: the file cannot be written, or is damaged.
    """
    try:
        if path.exists():
            part(template).load_state_dict(torch.load(path, "cpu", weights_only=True))
            return template
    except Exception as error:  # torch.load raises many types for a damaged file
        raise UserError(f"{path} is damaged. Delete it to train again.") from error
    trained = train()
    if rank() == 0:
        buffer = io.BytesIO()
        torch.save(part(trained).state_dict(), buffer)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, buffer.getvalue())
        except OSError as error:
            raise UserError(
                f"Cannot write '{path}' ({error.strerror}). Choose another directory."
            ) from error
    return trained
