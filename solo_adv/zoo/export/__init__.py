"""Exports models of the zoo to other software; each export is loaded back and compared."""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from shutil import rmtree

from solo_adv.catalogue.entry import Entry
from solo_adv.support.checks import choice
from solo_adv.support.errors import UserError

TARGETS = {
    "timm": "solo_adv.zoo.export.timm",
    "torchvision": "solo_adv.zoo.export.torchvision",
    "solo-learn": "solo_adv.zoo.export.solo_learn",
    "onnx": "solo_adv.zoo.export.onnx",
    "hf": "solo_adv.zoo.export.hf",
}
"""For each target the module whose ``write(entry, directory, head)`` makes the files."""
_WITH_HEAD = ("onnx",)


def export(
    entry: Entry, target: str, directory: str | Path, *, head: str | None = None
) -> list[Path]:
    """Write a model into a new directory, in the format of other software.

    Args:
        entry: The model.
        target: One of :data:`TARGETS`.
        directory: The directory to create; it may exist if it is empty.
        head: For ``onnx``: export the classifier with this head instead of the encoder.

    Returns:
        The files.

    Raises:
        UserError: The target cannot express the network (the message says why) or needs an extra
            that is not installed, or the directory is not empty. No file is left behind then.
    """
    choice("export target", target, TARGETS)
    if head is not None and target not in _WITH_HEAD:
        raise UserError(
            f"--head is for {', '.join(_WITH_HEAD)}: {target} gets "
            + ("all heads." if target == "hf" else "the backbone, whose features no head takes.")
        )
    directory = Path(directory)
    if directory.exists() and any(directory.iterdir()):
        raise UserError(f"The directory '{directory}' is not empty: choose another with --output.")
    write: Callable[[Entry, Path, str | None], None] = import_module(TARGETS[target]).write
    try:
        directory.mkdir(parents=True, exist_ok=True)
        write(entry, directory, head)
    except OSError as error:
        rmtree(directory, ignore_errors=True)
        raise UserError(f"Cannot write into '{directory}' ({error.strerror}).") from error
    except BaseException:
        rmtree(directory, ignore_errors=True)
        raise
    return sorted(path for path in directory.rglob("*") if path.is_file())
