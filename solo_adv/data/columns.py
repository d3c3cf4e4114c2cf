"""Decides which columns of a Parquet file hold the images and the labels."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from solo_adv.data.config import DataConfig
from solo_adv.data.parquet_files import UNLABELLED
from solo_adv.support.errors import UserError, unknown

IMAGE_COLUMNS = ("img", "image")
LABEL_COLUMNS = ("label", "labels", "fine_label")
"""Names of label columns; the first one that there is is taken."""
MORE_LABEL_COLUMNS = (
    *("class", "class_id", "class_idx", "class_index", "class_label", "class_name", "classes"),
    *("label_id", "label_idx", "label_name", "target", "targets", "category", "category_id", "y"),
    *("cls", "ground_truth", "gt"),
)
"""Further names of label columns; one of them is taken if there is no other one of them."""
NO_LABELS = frozenset(
    {
        *(
            "path",
            "file",
            "filename",
            "file_name",
            "file_path",
            "filepath",
            "name",
            "url",
            "source",
        ),
        *("id", "image_id", "img_id", "idx", "index", "key", "__key__", "__url__", "uuid"),
        *("__index_level_0__", "md5", "sha256", "hash", "width", "height", "size", "mode"),
        *("split", "text", "caption", "captions", "coarse_label"),
    }
)
"""Names of columns that are no labels."""


class Columns(NamedTuple):
    """The columns of a file that are read."""

    image: str
    """Path of the image column, such as ``img.bytes``."""
    label: str | None
    """The label column; None if the images are unlabelled."""
    names: tuple[str, ...]
    """Names of the classes in the order of the labels, if the file has them."""


def columns_of(schema: pa.Schema, config: DataConfig, file: Path) -> Columns:
    """Find the columns: by ``data.label_column``, by Hugging Face's metadata, or by their names.

    There is no label column if ``config.no_labels`` is true, if the file is named after an
    unlabelled part, or if no other column could be one.

    Raises:
        UserError: there is no image column, or it is not clear which column holds the labels.
    """
    features = _features(schema)
    image = _image_column(schema, features, file)
    if config.no_labels or file.name.startswith(UNLABELLED):
        return Columns(image, None, ())
    label = _label_column(schema, features, config, file, image.partition(".")[0])
    names = features.get(label or "", {}).get("names") or ()
    return Columns(image, label, tuple(str(name) for name in names))


def _features(schema: pa.Schema) -> Mapping[str, Mapping[str, Any]]:
    """What Hugging Face's ``datasets`` wrote about each column; empty if nothing."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        return {str(k): v for k, v in features.items() if isinstance(v, Mapping)}
    except (KeyError, TypeError, ValueError, AttributeError):
        return {}


def _image_column(schema: pa.Schema, features: Mapping[str, Mapping[str, Any]], file: Path) -> str:
    marked = [n for n in schema.names if features.get(n, {}).get("_type") == "Image"]
    image = next((name for name in IMAGE_COLUMNS if name in schema.names), None)
    if image is None and len(marked) == 1:
        image = marked[0]
    if image is None:
        raise UserError(
            f"'{file}' has no column {' or '.join(IMAGE_COLUMNS)};"
            f" it has {', '.join(schema.names)}."
        )
    kind = schema.field(image).type
    if pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
        return f"{image}.bytes"
    if not (pa.types.is_binary(kind) or pa.types.is_large_binary(kind)):
        raise UserError(f"Column {image} of '{file}' must hold encoded images; it is {kind}.")
    return image


def _label_column(
    schema: pa.Schema,
    features: Mapping[str, Mapping[str, Any]],
    config: DataConfig,
    file: Path,
    image: str,
) -> str | None:
    others = [name for name in schema.names if name != image]
    if config.label_column is not None:
        if config.label_column not in others:
            raise unknown("data.label_column", config.label_column, others or ["(none)"])
        return config.label_column
    usual = ("fine_label", *LABEL_COLUMNS) if config.dataset == "cifar100" else LABEL_COLUMNS
    for name in usual:
        if name in others:
            return name
    for found in (
        [n for n in others if features.get(n, {}).get("_type") == "ClassLabel"],
        [n for n in others if n.lower() in (*LABEL_COLUMNS, *MORE_LABEL_COLUMNS)],
    ):
        if len(found) == 1:
            return found[0]
        if found:
            raise UserError(
                f"'{file}' has several columns that may hold the labels: set data.label_column="
                f"{' or '.join(found)}."
            )
    possible = [n for n in others if n.lower() not in NO_LABELS and _may_label(schema, n)]
    if possible:
        raise UserError(
            f"'{file}' has no label column of a usual name; it has {', '.join(others)}. Set "
            f"data.label_column={' or '.join(possible[:5])}, or data.no_labels=true."
        )
    return None


def _may_label(schema: pa.Schema, column: str) -> bool:
    kind = schema.field(column).type
    return bool(
        pa.types.is_integer(kind)
        or pa.types.is_boolean(kind)
        or pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_dictionary(kind)
    )
