"""Takes the folders of a machine out of a report or a config, before others read it."""

import re
from collections.abc import Iterator, Mapping
from pathlib import PurePath, PurePosixPath, PureWindowsPath
from typing import Any


class Folders:
    """The absolute paths in a report or a config, and what is published in their place.

    Of a path inside the directory of all runs, such as that of the checkpoint, the part below that
    directory stays, and of any other its last part.

    Args:
        report: the plain values of a report, or of a config and the ``checkpoint`` of its run. The
            checkpoint lies in ``METHOD/VERSION/`` below the directory of all runs.
    """

    def __init__(self, report: Mapping[str, Any]) -> None:
        given = _absolute(report["checkpoint"])
        runs = given.parents[2] if given is not None and len(given.parents) > 2 else None
        found = {}
        for text in _texts(report):
            path = _absolute(text)
            if path is not None and path.name:
                inside = runs is not None and type(path) is type(runs) and runs in path.parents
                kept = path.relative_to(runs).as_posix() if inside and runs else path.name
                found[text] = kept
        self.published = found
        longest_first = sorted(map(re.escape, found), key=len, reverse=True)
        # A path that is part of another name, as /data is of my/data and of /database, stays.
        self._paths = re.compile(rf"(?<![\w.\-/\\])(?:{'|'.join(longest_first)})(?![\w\-])")

    def without(self, value: Any) -> Any:
        """The same value with published paths; also inside longer texts, lists and mappings."""
        if isinstance(value, str):
            if not self.published:
                return value
            return self._paths.sub(lambda match: self.published[match[0]], value)
        if isinstance(value, Mapping):
            return {name: self.without(item) for name, item in value.items()}
        if isinstance(value, list):
            return [self.without(item) for item in value]
        return value


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)


def _absolute(text: str) -> PurePath | None:
    """The path that a text is, of either kind of system; None if it is no absolute path."""
    for kind in (PurePosixPath, PureWindowsPath):
        if (path := kind(text)).is_absolute():
            return path
    return None
