"""Which Parquet files make up a split."""

import glob
from pathlib import Path

from solo_adv.data.config import DataConfig
from solo_adv.support.errors import UserError

# as the Hugging Face hub names shards: <split>-00000-of-00001.parquet
TRAIN_PREFIXES: tuple[str, ...] = ("train",)
TEST_PREFIXES: tuple[str, ...] = ("test", "val")  # tried in this order


def find_files(config: DataConfig, split: str) -> list[Path] | None:
    """The files of a split, sorted by path.

    A folder is searched for files named after the split, then its sub-folders; a file or a glob
    is taken as it is.

    Returns:
        The files; None for the test split if there is none and no ``val_path`` asks for one.

    Raises:
        UserError: no such file, or files of the split in several sub-folders.
    """
    if split == "train":
        path, prefixes = str(config.train_path), TRAIN_PREFIXES
    else:
        path, prefixes = config.val_path or str(config.train_path), TEST_PREFIXES
    root = Path(path).expanduser()
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
        raise UserError(f"No file fits '{pattern}'.")
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
