"""Images in Parquet files, in the layout of the Hugging Face hub."""

import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch
from PIL import Image

from solo_adv.data.config import DataConfig
from solo_adv.data.parquet_files import UNLABELLED, find_files
from solo_adv.data.sources import EncodedSources, RawSplit
from solo_adv.support.errors import UserError

IMAGE_COLUMNS = ("img", "image")
LABEL_COLUMNS = ("label", "labels", "fine_label")
CIFAR100_LABEL_COLUMNS = ("fine_label", "label", "labels")


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

    Args:
        config: which files to read.
        split: `train` or `test`.
        keep: takes the number of rows and returns the sorted numbers of the rows to keep.

    Returns:
        The kept rows; None if the test split is asked for and there is none.

    Raises:
        UserError: there is no file, a file is not Parquet, a column is missing, or a value is null.
    """
    files = find_files(config, split)
    if files is None:
        return None
    schemas = [_open(file).schema_arrow for file in files]
    lengths = np.array([_open(file).metadata.num_rows for file in files])
    if not lengths.sum():
        raise UserError(f"'{files[0]}' holds no rows.")
    starts = np.cumsum(lengths) - lengths
    rows = keep(int(lengths.sum()))
    file_of_row = np.searchsorted(starts, rows, side="right") - 1
    row_in_file = rows - starts[file_of_row]

    columns: list[pa.ChunkedArray] = []
    labels: list[np.ndarray] = []
    for number, (file, schema) in enumerate(zip(files, schemas, strict=True)):
        kept = row_in_file[file_of_row == number]
        image_column, label_column = _columns(schema, config, file)
        images, file_labels = _read_rows(file, image_column, label_column, kept)
        columns.extend(images.chunks)
        labels.append(file_labels)
    column = pa.chunked_array(columns, type=pa.large_binary())
    sources = ParquetSources(column, files, file_of_row, row_in_file)
    _, label_column = _columns(schemas[0], config, files[0])
    names = _class_names(schemas[0], label_column) if label_column else ()
    return RawSplit(sources, torch.from_numpy(np.concatenate(labels)), names)


def _open(file: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(file)
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"Cannot read '{file}' as Parquet: {_first_line(error)}") from error


def _columns(schema: pa.Schema, config: DataConfig, file: Path) -> tuple[str, str | None]:
    """The path of the image column, and the path of the label column or None.

    The second one is None if there is no such column, if ``config.no_labels`` is true, or if the
    file is named after an unlabelled part.
    """
    image = next((name for name in IMAGE_COLUMNS if name in schema.names), None)
    if image is None:
        raise UserError(
            f"'{file}' has no column {' or '.join(IMAGE_COLUMNS)};"
            f" it has {', '.join(schema.names)}."
        )
    kind = schema.field(image).type
    if pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
        image = f"{image}.bytes"
    elif not (pa.types.is_binary(kind) or pa.types.is_large_binary(kind)):
        raise UserError(f"Column {image} of '{file}' must hold encoded images; it is {kind}.")
    if config.no_labels or file.name.startswith(UNLABELLED):
        return image, None
    candidates = CIFAR100_LABEL_COLUMNS if config.dataset == "cifar100" else LABEL_COLUMNS
    label = next((name for name in candidates if name in schema.names), None)
    if label is not None and not pa.types.is_integer(schema.field(label).type):
        raise UserError(
            f"Column {label} of '{file}' must hold integers; it is {schema.field(label).type}."
        )
    return image, label


def _read_rows(
    file: Path, image_column: str, label_column: str | None, rows: np.ndarray
) -> tuple[pa.ChunkedArray, np.ndarray]:
    wanted = [image_column] if label_column is None else [image_column, label_column]
    try:
        table = _open(file).read(columns=wanted)
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"Cannot read '{file}': {_first_line(error)}") from error
    name, _, field = image_column.partition(".")
    images = pc.struct_field(table.column(name), [field]) if field else table.column(name)
    # `take` needs 64-bit offsets, because there may be more than 2 GiB of images.
    images = images.cast(pa.large_binary()).take(pa.array(rows))
    _check_nulls(images, file, image_column, rows)
    if label_column is None:
        return images, np.full(len(rows), -1, dtype=np.int64)
    labels = table.column(label_column).take(pa.array(rows))
    _check_nulls(labels, file, label_column, rows)
    return images, labels.to_numpy().astype(np.int64)


def _check_nulls(column: pa.ChunkedArray, file: Path, name: str, rows: np.ndarray) -> None:
    if column.null_count:
        first = int(np.flatnonzero(column.is_null().to_numpy())[0])
        raise UserError(f"Column {name} is null in row {rows[first]} of '{file}'.")


def _class_names(schema: pa.Schema, label_column: str) -> tuple[str, ...]:
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        return tuple(str(name) for name in features[label_column]["names"])
    except (KeyError, TypeError, ValueError):
        return ()  # only files written by Hugging Face's `datasets` name the classes


def _first_line(error: Exception) -> str:
    return str(error).split("\n", 1)[0]
