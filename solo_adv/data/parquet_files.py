"""Finds the Parquet files that make up a split."""

import glob
from pathlib import Path

from solo_adv.data.config import DataConfig
from solo_adv.support.errors import UserError
from solo_adv.support.files import given_path

# The Hugging Face hub names shards <split>-00000-of-00001.parquet.
TRAIN_PREFIXES: tuple[str, ...] = ("train",)
TEST_PREFIXES: tuple[str, ...] = ("test", "val")  # tried in this order


def find_files(config: DataConfig, split: str) -> list[Path] | None:
    """Find the files of a split, sorted by path.

    In a folder, and then in its sub-folders, files named after the split are looked for. A file or
    a glob is taken as it is.

    Returns:
        The files; None if the test split has no files and ``config.val_path`` is None.

    Raises:
        UserError: there is no such file, or several sub-folders hold files of the split.
    """
    if split == "train":
        path, prefixes = str(config.train_path), TRAIN_PREFIXES
    else:
        path, prefixes = config.val_path or str(config.train_path), TEST_PREFIXES
    root = given_path(path)
    if not root.is_dir():
        if split == "test" and config.val_path is None:
            return None
        return [root] if root.is_file() else _of_glob(root)
    for prefix in prefixes:
        files = _in_folder(root, prefix)
        if files:
            return files
    if split == "test" and config.val_path is None:
        return None
    raise _none_found(root, prefixes)


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
