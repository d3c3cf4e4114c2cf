"""Files that appear whole or not at all."""

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
    """A trained network from ``path``, or trained now and kept there by the first process.

    Args:
        path: a name that no other training shares.
        template: takes the weights if they are there.
        part: which part of the network was trained, and is kept.

    Raises:
        UserError: the file cannot be written, or is damaged.
    """
    try:
        if path.exists():
            part(template).load_state_dict(torch.load(path, "cpu", weights_only=True))
            return template
    except Exception as error:  # torch.load has no one kind of them
        raise UserError(f"{path} is damaged. Delete it to train anew.") from error
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
