"""Stored images that have not been decoded yet, in memory or in files."""

import io
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from PIL import Image

SIZES_LOOKED_AT = 16


class Sources(Protocol):
    """A list of images that can be opened one by one, from any thread or process."""

    def __len__(self) -> int: ...

    def open(self, index: int) -> Image.Image:
        """The image in the mode in which it is stored. It raises what the codec raises."""

    def describe(self, index: int) -> str:
        """Where the image lies, for messages."""

    def select(self, indices: Sequence[int]) -> "Sources":
        """The images at ``indices``, in that order."""


@runtime_checkable
class EncodedSources(Sources, Protocol):
    """Images that are stored in an image format such as PNG or JPEG."""

    def read(self, index: int) -> bytes:
        """The encoded image."""


class ArraySources(Sources):
    """Images that lie decoded in memory.

    Args:
        array: the images, uint8 (N, H, W, 3).
    """

    def __init__(self, array: np.ndarray) -> None:
        self.array = array

    def __len__(self) -> int:
        return len(self.array)

    def open(self, index: int) -> Image.Image:
        return Image.fromarray(self.array[index])

    def describe(self, index: int) -> str:
        return f"number {index}"

    def select(self, indices: Sequence[int]) -> "ArraySources":
        return ArraySources(self.array[np.asarray(indices)])


class JoinedSources(Sources):
    """Images of several sources, one source after the other.

    Args:
        parts: the sources.
        rows: for each image the number of its source and its place in there, (N, 2); None takes
            all images.
    """

    def __init__(self, parts: Sequence[Sources], rows: np.ndarray | None = None) -> None:
        self.parts = parts
        if rows is None:
            rows = np.concatenate(
                [
                    np.stack([np.full(len(part), number), np.arange(len(part))], axis=1)
                    for number, part in enumerate(parts)
                ]
            )
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def open(self, index: int) -> Image.Image:
        part, row = self.rows[index]
        return self.parts[part].open(row)

    def describe(self, index: int) -> str:
        return f"number {index}"

    def select(self, indices: Sequence[int]) -> "JoinedSources":
        return JoinedSources(self.parts, self.rows[np.asarray(indices)])


class FileSources(EncodedSources):
    """Image files that hold one image each."""

    def __init__(self, paths: Sequence[Path]) -> None:
        # Forked workers share one array without copying it; they would copy a list of strings.
        self.paths = np.asarray([str(path) for path in paths], dtype=np.str_)

    def __len__(self) -> int:
        return len(self.paths)

    def open(self, index: int) -> Image.Image:
        return Image.open(io.BytesIO(self.read(index)))

    def read(self, index: int) -> bytes:
        return Path(self.paths[index]).read_bytes()

    def describe(self, index: int) -> str:
        return f"'{self.paths[index]}'"

    def select(self, indices: Sequence[int]) -> "FileSources":
        return FileSources(self.paths[np.asarray(indices)])


@dataclass(frozen=True)
class RawSplit:
    """A split as it was found, before any image is decoded or left out.

    Attributes:
        sources: N images.
        labels: long (N,), -1 where unlabelled.
        classes: names of the classes, in the order of the labels; empty if unknown.
        stored_size: width and height such as ``96x96`` that the images had before the reader
            resized them; None if it did not.
        findings: what the user should know about what was found, a phrase each.
    """

    sources: Sources
    labels: torch.Tensor
    classes: tuple[str, ...] = ()
    stored_size: str | None = None
    findings: tuple[str, ...] = ()

    def with_finding(self, text: str) -> "RawSplit":
        """The same split with one more finding."""
        return replace(self, findings=(*self.findings, text))

    def select(self, indices: Sequence[int]) -> "RawSplit":
        """The rows at ``indices``, in that order."""
        rows = torch.as_tensor(indices)
        return replace(self, sources=self.sources.select(indices), labels=self.labels[rows])


def stored_size(sources: Sources) -> str:
    """Width and height of the stored images, such as ``96x96``, or ``various sizes``.

    Some images, evenly spaced, stand for all. Images that cannot be read are left out.
    """
    sizes = set()
    for index in range(0, len(sources), max(1, len(sources) // SIZES_LOOKED_AT)):
        with suppress(Exception):  # the decoder names images that cannot be read
            sizes.add(sources.open(index).size)
    return "x".join(map(str, sizes.pop())) if len(sizes) == 1 else "various sizes"
