"""Finds checkpoint files and reads them."""

import argparse
import re
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch

from solo_adv.encoders.weights import read_weights
from solo_adv.support.errors import UserError
from solo_adv.support.files import first_undamaged, given_path, verify

_POSITION = re.compile(r"ep=(\d+)(?:-batch=(\d+))?$")

LATEST = "latest"

NAMED_RUNS = 5
"""As many directories a message names where a directory above them was given."""


def names_latest(path: str | Path) -> bool:
    """Whether ``path`` is ``latest`` or ends in it, and is no file or directory of that name."""
    path = given_path(path)
    return path.name == LATEST and not path.exists()


def find_checkpoint(path: str | Path) -> Path:
    """Find the checkpoint file for ``path``, which is a file or a run's directory.

    ``latest`` is the run that saved last below ``trained_models``, and ``DIR/latest`` below
    another directory. Linear classifiers do not count, because they are no encoders.

    In a directory it is the checkpoint that is furthest in training, according to its name (see
    :func:`position`). Damaged checkpoints are passed over, and a warning names them.

    Raises:
        UserError: there is no such file, or the directory holds no checkpoint, only damaged ones,
            or checkpoints of several runs.
    """
    path = given_path(path)
    if names_latest(path):
        return _newest_in(_latest_below(path.parent))
    if path.is_dir():
        return _newest_in(path)
    if not path.exists():
        raise UserError(
            f"No checkpoint at {path}. Give the .ckpt file that pretraining printed, or its "
            "directory: trained_models/<method>/<version>; or latest, for the run that saved last."
        )
    return path


def _latest_below(directory: Path) -> Path:
    """The directory of the run that saved last below ``directory``."""
    if directory == Path():
        directory = Path("trained_models")
    files = [file for file in directory.rglob("*.ckpt") if "linear" not in file.parts[:-1]]
    if not files:
        raise UserError(f"There is no checkpoint (*.ckpt) of an encoder below {directory}.")
    return max(files, key=lambda file: file.stat().st_mtime).parent


def _nothing_in(directory: Path) -> str:
    """Say that a directory holds no checkpoint, and which directories below it do."""
    said = f"No checkpoint (*.ckpt) in the directory {directory}"
    below = sorted({str(file.parent) for file in directory.glob("*/**/*.ckpt")})
    if not below:
        return f"{said}, nor below it."
    named, others = below[:NAMED_RUNS], len(below) - NAMED_RUNS
    more = f" and {others} more" if others > 0 else ""
    return f"{said} itself. Below it: {', '.join(named)}{more}. Name one, or {directory}/latest."


def _newest_in(directory: Path) -> Path:
    files = sorted(directory.glob("*.ckpt"), key=position, reverse=True)
    if not files:
        raise UserError(_nothing_in(directory))
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


def read_checkpoint(file: Path, *, only_weights: bool = False) -> dict[str, Any]:
    """Read a training checkpoint without executing anything in it.

    Args:
        file: a file of ``torch.save``, or a ``.safetensors`` file of weights alone.
        only_weights: whether only the weights are needed. Settings that other programs keep beside
            them (objects of OmegaConf, paths, NumPy's arrays, Lightning's records) are then passed
            over without importing their classes; otherwise they are refused.

    Returns:
        What the file holds, with the weights by name under ``state_dict``.

    Raises:
        UserError: the file is damaged, is not a training checkpoint, or holds what would run code.
    """
    verify(file)
    if file.suffix == ".safetensors":
        return {"state_dict": read_weights(file)}
    try:
        checkpoint = _load(file, passing_over=only_weights)
    except UnpicklingError as error:
        refused = _REFUSED.search(str(error))
        if refused is None:
            what = "it is not a PyTorch file, or it holds more than tensors and plain values,"
        else:
            what = f"it holds {refused[1]}, among others,"
        raise UserError(
            f"{file} is not a readable checkpoint: {what} which is refused because loading it "
            "would run code. If you trust it, save its weights alone where it was made: "
            "torch.save({'state_dict': model.state_dict()}, FILE)."
        ) from error
    except Exception as error:  # a damaged file without a checksum raises many types
        reason = f"{type(error).__name__} {' '.join(str(error).split())[:200]}"
        raise UserError(
            f"{file} is not a readable checkpoint: it is not a PyTorch file, or damaged ({reason})."
        ) from error
    if isinstance(checkpoint, dict):
        for key in _WEIGHTS:
            if isinstance(checkpoint.get(key), Mapping):
                return {**checkpoint, "state_dict": _only_tensors(file, key, checkpoint[key])}
        if checkpoint and all(isinstance(value, torch.Tensor) for value in checkpoint.values()):
            return {"state_dict": checkpoint}
    raise UserError(
        f"{file} is not a training checkpoint: it holds no weights, neither alone nor as "
        f"{', '.join(map(repr, _WEIGHTS[:-1]))} or {_WEIGHTS[-1]!r}."
    )


_WEIGHTS = ("state_dict", "state_dict_dual", "model", "net", "network", "model_state_dict")
"""Where the weights may lie in a checkpoint. If several are there, the first is taken."""
_REFUSED = re.compile(r"GLOBAL ([\w.]+)")


def _only_tensors(file: Path, key: str, state: Mapping[str, Any]) -> Mapping[str, Any]:
    for name, value in state.items():
        if not isinstance(value, torch.Tensor):
            raise UserError(
                f"{file} is not a training checkpoint: its '{key}' holds {name}, which is a "
                f"{type(value).__name__} and not a tensor."
            )
    return state


class _Unread:
    """Stands in for an object that is not read. Its class is not imported and its state is lost."""

    def __new__(cls, *_: object) -> "_Unread":
        return object.__new__(cls)

    def __setstate__(self, state: object) -> None:
        pass


def _unread_dict(*_: object) -> OrderedDict[Any, Any]:
    """Stands in for ``defaultdict``; PyTorch fills in the items."""
    return OrderedDict()


_UNREAD = (
    *("omegaconf", "pathlib", "typing", "numpy", "argparse", "enum"),
    *("pytorch_lightning", "lightning", "lightning_fabric", "lightning_utilities"),
)
"""Packages whose objects are passed over. Nothing that is needed lies in them."""
_BUILTINS = (
    *("dict", "list", "tuple", "set", "frozenset", "object", "int", "float", "str", "bool"),
    *("bytes", "bytearray", "complex", "range", "slice", "type"),
)
"""Types of Python that are passed over. Its functions, such as eval, are refused."""


def _load(file: Path, *, passing_over: bool) -> Any:
    """The content of a PyTorch file, with stand-ins for objects that are known but not read.

    Raises:
        UnpicklingError: the file holds an object that is not known.
    """
    stand_ins: dict[str, Any] = {}
    if passing_over:
        stand_ins = {f"builtins.{name}": _Unread for name in _BUILTINS}
    while True:
        known = [(stand_in, name) for name, stand_in in stand_ins.items()]
        try:
            with torch.serialization.safe_globals([*_harmless(), *known]):
                return torch.load(file, map_location="cpu", weights_only=True)
        except UnpicklingError as error:
            refused = _REFUSED.search(str(error))
            name = refused[1] if refused else ""
            if not passing_over or name in stand_ins:
                raise
            if name == "collections.defaultdict":
                stand_ins[name] = _unread_dict
            elif name.endswith(".AttributeDict"):  # of Lightning
                stand_ins[name] = OrderedDict
            elif name.partition(".")[0] in _UNREAD:
                stand_ins[name] = _Unread
            else:
                raise


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
