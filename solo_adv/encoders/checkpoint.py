"""Checkpoint files: which one is meant, and what it holds."""

import re
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from solo_adv.support.errors import UserError
from solo_adv.support.files import verify


def find_checkpoint(path: str | Path) -> Path:
    """The checkpoint file that ``path``, a file or a run's directory, means.

    Of a directory the one that is furthest in training, by its name (see :func:`position`).

    Raises:
        UserError: there is no such file, or no checkpoint in the directory.
    """
    path = Path(path).expanduser()
    if path.is_dir():
        files = sorted(path.glob("*.ckpt"), key=position)
        if not files:
            raise UserError(f"No checkpoint (*.ckpt) in the directory {path}.")
        return files[-1]
    if not path.exists():
        raise UserError(
            f"No checkpoint at {path}. Give the .ckpt file that pretraining printed, or its "
            "directory: trained_models/<method>/<version>."
        )
    return path


def read_checkpoint(file: Path) -> dict[str, Any]:
    """The contents of a training checkpoint; nothing in it is executed.

    Raises:
        UserError: it is not one.
    """
    verify(file)
    try:
        checkpoint = torch.load(file, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        raise UserError(
            f"{file} is not a readable checkpoint: it is no PyTorch file, or holds more than "
            "tensors and plain values, which is refused because loading it would run code."
        ) from error
    except Exception as error:  # damaged files, where they have no checksum, fail in many ways
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{file} is not a readable checkpoint: {reason}") from error
    if not isinstance(checkpoint, dict) or "state_dict" not in checkpoint:
        raise UserError(f"{file} is not a training checkpoint: it holds no 'state_dict'.")
    return checkpoint


def position(checkpoint: Path) -> tuple[int, int]:
    """How many epochs, and batches of the next one, are done, by the checkpoint's name.

    It says which checkpoint of a run is the newest; times of modification do not, because copying
    a run changes them.
    """
    found = re.search(r"ep=(\d+)(?:-batch=(\d+))?$", checkpoint.stem)
    if found is None:
        return 0, 0
    epoch, batches = found.groups()
    return (int(epoch) + 1, 0) if batches is None else (int(epoch), int(batches))
