"""Finds the files below folders: hidden and tool folders are skipped, every file is found once."""

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from solo_adv.support.errors import UserError

TOOL_FOLDERS = frozenset(
    {
        "__MACOSX",
        "__pycache__",
        "@eaDir",
        "#recycle",
        "$RECYCLE.BIN",
        "System Volume Information",
        "lost+found",
    }
)
"""Folders that programs other than the user's make beside images. No image in them is read."""


def is_hidden(name: str) -> bool:
    """Whether a file or folder of this name is hidden or made by a tool, and left out."""
    return name.startswith(".") or name in TOOL_FOLDERS


@dataclass
class Found:
    """What lies below one folder.

    Attributes:
        files: the files with an accepted extension.
        others: how many files have another extension, by extension; empty if they have none.
        repeated: how many links were left out, because they lead to files that are found
            elsewhere, or to a folder that contains the link.
        broken: how many links lead nowhere.
    """

    files: list[Path] = field(default_factory=list)
    others: Counter[str] = field(default_factory=Counter)
    repeated: int = 0
    broken: int = 0


def files_below(folders: Sequence[Path], extensions: Sequence[str]) -> list[Found]:
    """Find the files below each of some folders, which may be links or contain links.

    Links are followed. Files and folders that are reached in several ways are found once: where
    they really lie, if that is below one of ``folders``, or else through the first link.

    Args:
        folders: the folders.
        extensions: endings of the files to find, in lower case, with the dot.

    Returns:
        What lies below each folder. Files are not sorted.

    Raises:
        UserError: a folder cannot be read.
    """
    return _Walk(tuple(extensions)).below(folders)


def in_order(files: Iterable[Path]) -> list[Path]:
    """The files of a class in the order of their numbers in a data set: by folder, then by name."""
    return sorted(files, key=lambda path: (str(path.parent), path.name))


class _Walk:
    """A walk that remembers the real folders and files that it has been to."""

    def __init__(self, extensions: tuple[str, ...]) -> None:
        self.extensions = extensions
        self.folders: set[str] = set()
        self.linked_files: set[str] = set()

    def below(self, folders: Sequence[Path]) -> list[Found]:
        results = [Found() for _ in folders]
        links: list[tuple[Found, str]] = []
        for found, folder in zip(results, folders, strict=True):
            if folder.is_symlink():
                links.append((found, str(folder)))
            else:
                links += [(found, link) for link in self._visit(str(folder), found)]
        # Links come last, because what they lead to may also be found where it really lies.
        while links:
            found, link = links.pop(0)
            links += [(found, inner) for inner in self._follow(link, found)]
        return results

    def _visit(self, folder: str, found: Found) -> list[str]:
        """Note the files in ``folder`` and below. Returns the links, which are not followed yet."""
        links: list[str] = []
        waiting = [folder]
        while waiting:
            here = waiting.pop()
            real = os.path.realpath(here)
            if real in self.folders:
                continue
            self.folders.add(real)
            for entry in _entries(here):
                if is_hidden(entry.name):
                    continue
                if entry.is_symlink():
                    links.append(entry.path)
                elif entry.is_dir():
                    waiting.append(entry.path)
                elif entry.is_file():
                    self._note(entry.path, found)
        return sorted(links)

    def _follow(self, link: str, found: Found) -> list[str]:
        real = os.path.realpath(link)
        if os.path.isdir(real):
            if real in self.folders or contains(real, os.path.dirname(link)):
                found.repeated += 1
                return []
            return self._visit(link, found)
        if not os.path.isfile(real):
            found.broken += not os.path.exists(real)
        elif not self._accepted(link):
            self._note(link, found)
        elif real in self.linked_files or self._was_found(real):
            found.repeated += 1
        else:
            self.linked_files.add(real)
            self._note(link, found)
        return []

    def _was_found(self, real: str) -> bool:
        folder, name = os.path.split(real)
        return folder in self.folders and self._accepted(real) and not is_hidden(name)

    def _note(self, path: str, found: Found) -> None:
        if self._accepted(path):
            found.files.append(Path(path))
        else:
            found.others[os.path.splitext(path)[1].lower()] += 1

    def _accepted(self, path: str) -> bool:
        return path.lower().endswith(self.extensions)


def contains(folder: str | Path, path: str | Path) -> bool:
    """Whether ``path`` really lies in ``folder`` or is that folder, after following links."""
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))


def _entries(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise UserError(f"Cannot read the folder '{folder}': {error.strerror}.") from error
