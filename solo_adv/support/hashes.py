"""SHA-256 of contents in pieces, and of files."""

import base64
import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

_CHUNK = 1 << 20


def sha256(pieces: Iterable[Any]) -> str:
    """The SHA-256, in hexadecimal digits, of bytes or buffers one after the other."""
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(piece)
    return digest.hexdigest()


def sha256_for_browsers(text: str) -> str:
    """The SHA-256 of a text in base 64, as a content security policy names scripts."""
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def sha256_of_file(path: Path) -> str:
    """The SHA-256 of a file's contents in hexadecimal digits.

    Raises:
        OSError: the file cannot be read.
    """
    return sha256(_chunks(path))


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            yield chunk
