"""Images in Parquet files, in the layout of the Hugging Face hub."""

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch
from PIL import Image

from solo_adv.data.columns import columns_of
from solo_adv.data.config import DataConfig
from solo_adv.data.findings import per_class
from solo_adv.data.parquet_files import find_files
from solo_adv.data.sources import EncodedSources, RawSplit
from solo_adv.data.vocabulary import Vocabulary, as_labels, distinct
from solo_adv.support.errors import UserError


class ParquetSources(EncodedSources):
    """Encoded images in memory, as one Arrow column that forked workers share without copying.

    Args:
        column: the encoded images, binary (N,).
        files: the files that the rows come from.
        file_of_row: the index in ``files`` of each image's file (N,).
        row_in_file: the row of each image in its file (N,).
    """

    def __init__(
        self,
        column: pa.ChunkedArray,
        files: Sequence[Path],
        file_of_row: np.ndarray,
        row_in_file: np.ndarray,
    ) -> None:
        self.column = column
        self.files = files
        self.file_of_row = file_of_row
        self.row_in_file = row_in_file

    def __len__(self) -> int:
        return len(self.column)

    def open(self, index: int) -> Image.Image:
        return Image.open(io.BytesIO(self.read(index)))

    def read(self, index: int) -> bytes:
        stored: bytes = self.column[index].as_py()
        return stored

    def describe(self, index: int) -> str:
        file = self.files[self.file_of_row[index]]
        return f"in row {self.row_in_file[index]} of '{file}'"

    def select(self, indices: Sequence[int]) -> "ParquetSources":
        rows = np.asarray(indices)
        column = self.column.take(pa.array(rows))
        return ParquetSources(column, self.files, self.file_of_row[rows], self.row_in_file[rows])


def read(config: DataConfig, split: str, keep: Callable[[int], np.ndarray]) -> RawSplit | None:
    """Read the encoded images and labels of a split without decoding them.

    The classes of both splits are those of the train split.

    Args:
        config: which files to read.
        split: `train` or `test`.
        keep: takes the number of rows and returns the sorted numbers of the rows to keep.

    Returns:
        The kept rows; None if the test split is asked for and there is none.

    Raises:
        UserError: there is no file, a file is not Parquet, a column is missing, a value is null, or
            a label of the test split is not one of the train split.
    """
    files = find_files(config, split)
    if files is None:
        return None
    tables = [_Table(file, config) for file in files]
    lengths = np.array([table.rows for table in tables])
    if not lengths.sum():
        raise UserError(f"'{files[0]}' holds no rows.")
    starts = np.cumsum(lengths) - lengths
    rows = keep(int(lengths.sum()))
    file_of_row = np.searchsorted(starts, rows, side="right") - 1
    row_in_file = rows - starts[file_of_row]

    vocabulary = _vocabulary(tables if split == "train" else _train_tables(config), config)
    images = [t.images(row_in_file[file_of_row == number]) for number, t in enumerate(tables)]
    column = pa.chunked_array([c for part in images for c in part.chunks], type=pa.large_binary())
    sources = ParquetSources(column, files, file_of_row, row_in_file)
    every = np.concatenate([table.labels(vocabulary) for table in tables])
    classes = vocabulary.classes if (every >= 0).any() else ()
    text = _finding(every, vocabulary, tables)
    return RawSplit(sources, torch.from_numpy(every[rows]), classes, findings=(text,))


class _Table:
    """A Parquet file and the columns of it that are read."""

    def __init__(self, file: Path, config: DataConfig) -> None:
        self.file = file
        opened = _open(file)
        self.rows = opened.metadata.num_rows
        self.columns = columns_of(opened.schema_arrow, config, file)

    @property
    def where_labels_are(self) -> str:
        return f"Column {self.columns.label} of '{self.file}'"

    def images(self, rows: np.ndarray) -> pa.ChunkedArray:
        """The encoded images of some rows."""
        name, _, field = self.columns.image.partition(".")
        images = self._read(self.columns.image).column(name)
        images = pc.struct_field(images, [field]) if field else images
        # `take` needs 64-bit offsets, because there may be more than 2 GiB of images.
        images = images.cast(pa.large_binary()).take(pa.array(rows))
        _check_nulls(images, self.file, self.columns.image, rows)
        return images

    def stored_labels(self) -> pa.ChunkedArray | None:
        """The label column as it is stored; None if there is none."""
        if self.columns.label is None:
            return None
        labels = self._read(self.columns.label).column(self.columns.label)
        _check_nulls(labels, self.file, self.columns.label, np.arange(self.rows))
        return as_labels(labels, self.where_labels_are)

    def labels(self, vocabulary: Vocabulary) -> np.ndarray:
        """The class numbers of all rows, int64 (N,), -1 where unlabelled."""
        stored = self.stored_labels()
        if stored is None:
            return np.full(self.rows, -1, dtype=np.int64)
        return vocabulary.read(stored, self.columns.names, self.where_labels_are)

    def _read(self, column: str) -> pa.Table:
        try:
            return _open(self.file).read(columns=[column])
        except (pa.ArrowException, OSError) as error:
            raise UserError(f"Cannot read '{self.file}': {_first_line(error)}") from error


def _train_tables(config: DataConfig) -> list[_Table]:
    return [_Table(file, config) for file in find_files(config, "train") or []]


def _vocabulary(tables: Sequence[_Table], config: DataConfig) -> Vocabulary:
    """The classes of the train files ``tables``."""
    for table in tables:
        if table.columns.names:
            return Vocabulary.of_names(table.columns.names)
    values: dict[Any, None] = {}
    for table in tables:
        stored = table.stored_labels()
        values.update(dict.fromkeys(distinct(stored) if stored is not None else ()))
    if len({isinstance(value, str) for value in values}) > 1:
        raise UserError(f"{tables[0].where_labels_are} and other files hold numbers and texts.")
    return Vocabulary.of_values(list(values), config.dataset)


def _finding(labels: np.ndarray, vocabulary: Vocabulary, tables: Sequence[_Table]) -> str:
    place = f"'{tables[0].file.parent if len(tables) > 1 else tables[0].file}'"
    labelled = labels[labels >= 0]
    if not len(labelled):
        return f"{len(labels):,} images without labels in {place}"
    names = vocabulary.classes or [str(number) for number in range(vocabulary.size)]
    counted = per_class(np.bincount(labelled, minlength=vocabulary.size).tolist(), names)
    column = next(table.columns.label for table in tables if table.columns.label)
    bare = len(labels) - len(labelled)
    return "; ".join(
        [
            f"{counted} in {place}, column {column}",
            *([vocabulary.finding] if vocabulary.finding else []),
            *([f"{bare:,} images without labels"] if bare else []),
        ]
    )


def _open(file: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(file)
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"Cannot read '{file}' as Parquet: {_first_line(error)}") from error


def _check_nulls(column: pa.ChunkedArray, file: Path, name: str, rows: np.ndarray) -> None:
    if column.null_count:
        first = int(np.flatnonzero(column.is_null().to_numpy())[0])
        raise UserError(f"Column {name} is null in row {rows[first]} of '{file}'.")


def _first_line(error: Exception) -> str:
    return str(error).split("\n", 1)[0]
