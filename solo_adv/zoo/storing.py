"""The files of a zoo directory: described, read and written."""

import json
from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import save
from torch import Tensor

from solo_adv.catalogue.entry import Entry, StoredFile
from solo_adv.catalogue.index import EMPTY, FORMAT, INDEX_FILE, parse
from solo_adv.support.errors import UserError
from solo_adv.support.files import write_whole
from solo_adv.support.hashes import sha256
from solo_adv.zoo.card import card
from solo_adv.zoo.compacting import smallest


def described_file(
    folder: str, file_name: str, content: bytes, part_bytes: int | None = None
) -> StoredFile:
    path = f"{folder}/{file_name}"
    parts = []
    if part_bytes is not None and len(content) > part_bytes:
        pieces = [content[i : i + part_bytes] for i in range(0, len(content), part_bytes)]
        parts = [
            StoredFile(path=f"{path}.part{i}", size=len(p), sha256=sha256([p]))
            for i, p in enumerate(pieces)
        ]
    digest = sha256([content])
    return StoredFile(path=path, size=len(content), sha256=digest, parts=tuple(parts))


def weights_file(kind: str, state: Mapping[str, Tensor]) -> tuple[str, bytes]:
    """Name and contents of the file with the weights of an encoder or a head.

    Matrices that bfloat16 holds exactly are stored as such; see ``compacting.py``.
    """
    return f"{kind}.safetensors", save({name: _shortest(t) for name, t in state.items()})


def _shortest(tensor: Tensor) -> Tensor:
    return smallest(tensor.detach().cpu()).contiguous().clone()


def stored(zoo: Path, file: StoredFile) -> bytes:
    """The contents of a file of a zoo directory.

    Raises:
        UserError: it is missing or damaged.
    """
    try:
        content = b"".join((zoo / piece.path).read_bytes() for piece in file.parts or (file,))
    except OSError as error:
        raise UserError(f"Cannot read '{error.filename}': {error.strerror}.") from error
    if sha256([content]) != file.sha256:
        raise UserError(
            f"{zoo / file.path} is damaged (its sha256 is not that of {INDEX_FILE}): get it again."
        )
    return content


def index_with(zoo: Path, entry: Entry) -> bytes:
    file = zoo / INDEX_FILE
    index = parse(file.read_text(encoding="utf-8"), file) if file.exists() else dict(EMPTY)
    others = [model for model in index["models"] if model["name"] != entry.name]
    models = sorted([*others, entry.to_dict()], key=lambda model: str(model["name"]))
    index |= {"format": FORMAT, "models": models}
    text = json.dumps(index, indent=2, allow_nan=False) + "\n"
    parse(text, "of the new model")
    return text.encode()


def write_model(
    zoo: Path,
    entry: Entry,
    content: Mapping[str, tuple[str, bytes]],
    reports: Mapping[str, bytes],
    index: bytes,
) -> None:
    """Write the model's files, then the index, so that the index names only files that exist."""
    folder = zoo / "models" / entry.name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for kind, (_, data) in content.items():
            file = entry.files[kind]
            begin = 0
            for piece in file.parts or (file,):
                write_whole(zoo / piece.path, data[begin : begin + piece.size])
                begin += piece.size
        for name, data in reports.items():
            write_whole(folder / name, data)
        write_whole(folder / "README.md", card(entry))
        write_whole(zoo / INDEX_FILE, index)
    except OSError as error:
        raise UserError(f"Cannot write into '{zoo}' ({error.strerror}).") from error
