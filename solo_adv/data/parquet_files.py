"""Finds the Parquet files that make up a split."""

import glob
from collections.abc import Iterable
from pathlib import Path

from solo_adv.data.config import DataConfig
from solo_adv.data.walking import is_hidden
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
_FOLDERS = {"train": ("training",), "test": ("testing",), "val": ("valid", "validation")}
"""Further names of folders that hold the files of a part."""


def find_files(config: DataConfig, split: str) -> list[Path] | None:
    """Find the files of a split, sorted by path.

    In a folder, and then in its sub-folders, files named after the split are looked for, then files
    in a folder named after it. A file or a glob is taken as it is.

    Returns:
        The files; None if the test split has no files and ``config.val_path`` is None.

    Raises:
        UserError: there is no such file, several sub-folders hold files of the split, or a glob
            matches files of both splits.
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
    files = _each_once(Path(found) for found in glob.glob(str(pattern)))
    if not files:
        raise UserError(f"No file matches '{pattern}'.")
    named = [{file.name for file in files if file.name.startswith(PREFIXES[k])} for k in _BOTH]
    if all(named):
        raise UserError(
            f"'{pattern}' matches files of both splits, such as {min(named[0])} and "
            f"{min(named[1])}: give the folder, or a pattern for each of data.train_path and "
            "data.val_path."
        )
    return files


_BOTH = ("train", "test")


def _in_folder(root: Path, prefix: str) -> list[Path]:
    # Automatic conversions to Parquet are laid out <config>/<split>/0000.parquet.
    named = [*_FOLDERS.get(prefix, ()), prefix]
    named += [f"partial-{name}" for name in named]
    for patterns in ([f"{prefix}*.parquet"], [f"{name}/*.parquet" for name in named]):
        for above in ("", "*/"):
            found = (file for pattern in patterns for file in root.glob(above + pattern))
            files = _each_once(found, below=root)
            folders = sorted({str(file.parent.relative_to(root)) for file in files})
            if len(folders) > 1:
                raise UserError(
                    f"'{root}' holds {prefix} files in several sub-folders ({', '.join(folders)});"
                    " name one of them in data.train_path or data.val_path."
                )
            if files:
                return files
    others = tuple(p for part in PREFIXES.values() for p in part if p != prefix)
    if root.resolve().name in named:
        inside = _each_once(root.glob("*.parquet"), below=root)
        return [file for file in inside if not file.name.startswith(others)]
    return []


def _each_once(files: Iterable[Path], below: Path | None = None) -> list[Path]:
    """The files sorted by path, without hidden ones and without second names of the same file."""
    seen: dict[Path, Path] = {}
    for file in sorted(files, key=lambda file: (file.is_symlink(), file)):
        parts = file.relative_to(below).parts if below else (file.name,)
        if file.is_file() and not any(map(is_hidden, parts)):
            seen.setdefault(file.resolve(), file)
    return sorted(seen.values())


def _none_found(root: Path, prefixes: tuple[str, ...]) -> UserError:
    wanted = " or ".join(f"{prefix}*.parquet" for prefix in prefixes)
    others = sorted(file.name for file in root.glob("*.parquet"))
    found = f"it holds {', '.join(others[:5])}" if others else "it holds no Parquet file"
    return UserError(
        f"No {wanted} in '{root}' or one level below: {found}. Files in a folder of such a name, a "
        "file and a glob are accepted too."
    )
