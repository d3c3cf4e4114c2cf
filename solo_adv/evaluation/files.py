"""Files that appear whole or not at all."""

import io
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch
from torch import nn

from solo_adv.errors import UserError
from solo_adv.evaluation.processes import rank

M = TypeVar("M", bound=nn.Module)


def write_whole(path: Path, content: bytes) -> None:
    """Replace ``path`` by a file with ``content``; a kill leaves the old one or the new one."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


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
