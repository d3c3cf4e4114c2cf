"""Small image sets on disk, in the layouts that the package reads."""

import io
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

NAMES = ["plane", "car", "bird"]


@pytest.fixture
def pixels():
    """uint8 (12, 8, 8, 3)."""
    return np.random.default_rng(0).integers(0, 256, (12, 8, 8, 3), dtype=np.uint8)


@pytest.fixture
def encode():
    def encode(image, kind="WEBP"):
        stream = io.BytesIO()
        Image.fromarray(image).save(stream, kind, **({"lossless": True} if kind == "WEBP" else {}))
        return stream.getvalue()

    return encode


@pytest.fixture
def write_parquet(encode):
    """Write images as the Hugging Face hub lays them out."""

    def write(
        path,
        images,
        labels,
        *,
        image_column="img",
        label_column="label",
        names=tuple(NAMES),
        kind="WEBP",
    ):
        cells = [cell if isinstance(cell, bytes | None) else encode(cell, kind) for cell in images]
        structs = pa.array(
            [None if cell is None else {"bytes": cell, "path": None} for cell in cells],
            pa.struct([("bytes", pa.binary()), ("path", pa.string())]),
        )
        columns = {image_column: structs}
        if labels is not None:
            columns[label_column] = pa.array(labels, pa.int64())
        table = pa.table(columns)
        if names:
            features = {label_column: {"names": list(names), "_type": "ClassLabel"}}
            info = json.dumps({"info": {"features": features}})
            table = table.replace_schema_metadata({"huggingface": info})
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, path)
        return path

    return write


@pytest.fixture
def write_folder():
    """Write images (N, H, W, 3) as PNG files into one sub-folder a class."""

    def write(root, images, labels, names=tuple(NAMES)):
        for name in names:
            (root / name).mkdir(parents=True)
        for number, (image, label) in enumerate(zip(images, labels, strict=True)):
            Image.fromarray(image).save(root / names[label] / f"{number:03}.png")
        return root

    return write
