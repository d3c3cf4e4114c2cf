"""Finds the Parquet files that make up a split."""

import glob
from pathlib import Path

from solo_adv.data.config import DataConfig
from solo_adv.support.errors import UserError
from solo_adv.support.files import given_path

# The Hugging Face hub names shards <split>-00000-of-00001.parquet.
UNLABELLED = ("unlabeled", "unlabelled")
PREFIXES: dict[str, tuple[str, ...]] = {
    "train": ("train",),
    "unlabelled": UNLABELLED,
    "extra": ("extra",),
    "test": ("test", "val"),
}
"""How the files of each part of a data set may begin, tried in this order."""


def find_files(config: DataConfig, split: str) -> list[Path] | None:
    """Find the files of a split, sorted by path.

    In a folder, and then in its sub-folders, files named after the split are looked for. A file or
    a glob is taken as it is.

    Returns:
        The files; None if the test split has no files and ``config.val_path`` is None.

    Raises:
        UserError: there is no such file, or several sub-folders hold files of the split.
    """
    root, parts = given_path(config.path_of(split)), config.parts_of(split)
    optional = split == "test" and config.val_path is None
    if not root.is_dir():
        if optional:
            return None
        if parts not in (["train"], ["test"]):
            raise UserError(
                f"data.train_split={config.train_split} needs a folder in data.train_path, with "
                f"files named after their part; '{root}' is not one."
            )
        return [root] if root.is_file() else _of_glob(root)
    found: list[Path] = []
    for part in parts:
        files = next(filter(None, (_in_folder(root, prefix) for prefix in PREFIXES[part])), None)
        if files is None:
            if optional:
                return None
            raise _none_found(root, PREFIXES[part])
        found += files
    return found


def _of_glob(pattern: Path) -> list[Path]:
    files = sorted(Path(found) for found in glob.glob(str(pattern)))
    if not files:
        raise UserError(f"No file matches '{pattern}'.")
    return files


def _in_folder(root: Path, prefix: str) -> list[Path]:
    for pattern in (f"{prefix}*.parquet", f"*/{prefix}*.parquet"):
        files = sorted(root.glob(pattern))
        folders = sorted({file.parent.name for file in files})
        if len(folders) > 1:
            raise UserError(
                f"'{root}' holds {prefix} files in several sub-folders ({', '.join(folders)});"
                " name one of them in data.train_path or data.val_path."
            )
        if files:
            return files
    return []


def _none_found(root: Path, prefixes: tuple[str, ...]) -> UserError:
    wanted = " or ".join(f"{prefix}*.parquet" for prefix in prefixes)
    others = sorted(file.name for file in root.glob("*.parquet"))
    found = f"it holds {', '.join(others[:5])}" if others else "it holds no Parquet file"
    return UserError(
        f"No {wanted} in '{root}' or one level below: {found}. A file or a glob is accepted too."
    )
