"""Finds checkpoint files and reads them."""

import argparse
import re
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch

from solo_adv.support.errors import UserError
from solo_adv.support.files import first_undamaged, given_path, verify

_POSITION = re.compile(r"ep=(\d+)(?:-batch=(\d+))?$")


def find_checkpoint(path: str | Path) -> Path:
    """Find the checkpoint file for ``path``, which is a file or a run's directory.

    In a directory it is the checkpoint that is furthest in training, according to its name (see
    :func:`position`). Damaged checkpoints are passed over, and a warning names them.

    Raises:
        UserError: there is no such file, or the directory holds no checkpoint, only damaged ones,
            or checkpoints of several runs.
    """
    path = given_path(path)
    if path.is_dir():
        return _newest_in(path)
    if not path.exists():
        raise UserError(
            f"No checkpoint at {path}. Give the .ckpt file that pretraining printed, or its "
            "directory: trained_models/<method>/<version>."
        )
    return path


def _newest_in(directory: Path) -> Path:
    files = sorted(directory.glob("*.ckpt"), key=position, reverse=True)
    if not files:
        raise UserError(f"No checkpoint (*.ckpt) in the directory {directory}.")
    newest: dict[str, Path] = {}
    for file in files:
        newest.setdefault(_POSITION.sub("", file.stem), file)
    if len(newest) > 1:
        raise UserError(
            f"{directory} holds checkpoints of {len(newest)} runs, and only you know which is "
            f"meant. Name one: {', '.join(str(file) for file in newest.values())}."
        )
    found = first_undamaged(files)
    if found is None:
        raise UserError(f"Every checkpoint in {directory} is damaged or cut off.")
    return found


def read_checkpoint(file: Path) -> dict[str, Any]:
    """Read a training checkpoint without executing anything in it.

    Raises:
        UserError: the file is damaged or is not a training checkpoint.
    """
    verify(file)
    try:
        with torch.serialization.safe_globals(_harmless()):
            checkpoint = torch.load(file, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        refused = re.search(r"GLOBAL ([\w.]+)", str(error))
        what = f"{refused[1]}, among others," if refused else "more than tensors and plain values,"
        raise UserError(
            f"{file} is not a readable checkpoint: it is not a PyTorch file, or it holds {what} "
            "which is refused because loading it would run code. If you trust it, save its weights "
            "alone where it was made: torch.save({'state_dict': model.state_dict()}, FILE)."
        ) from error
    except Exception as error:  # a damaged file without a checksum raises many types
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{file} is not a readable checkpoint: {reason}") from error
    if isinstance(checkpoint, dict):
        for key in ("state_dict", "model", "net", "model_state_dict"):
            if isinstance(checkpoint.get(key), Mapping):
                return {**checkpoint, "state_dict": checkpoint[key]}
        if checkpoint and all(isinstance(value, torch.Tensor) for value in checkpoint.values()):
            return {"state_dict": checkpoint}
    raise UserError(
        f"{file} is not a training checkpoint: it holds no weights, neither alone nor as "
        "'state_dict', 'model' or 'net'."
    )


def _harmless() -> list[Any]:
    """Types beside tensors that checkpoints hold and that run no code when they are loaded."""
    scalar = np.float64(0).__reduce__()[0]
    kinds = [np.dtype, *{type(np.dtype(code)) for code in "?bhilqBHILQefd"}]
    return [argparse.Namespace, scalar, *kinds]


def position(checkpoint: Path) -> tuple[int, int]:
    """How many epochs, and batches of the next epoch, the checkpoint's name says are done.

    It decides which checkpoint of a run is the newest. Times of modification do not, because
    copying a run changes them.
    """
    found = _POSITION.search(checkpoint.stem)
    if found is None:
        return 0, 0
    epoch, batches = found.groups()
    return (int(epoch) + 1, 0) if batches is None else (int(epoch), int(batches))
