"""Recognises folders that are splits of a data set, where classes are expected."""

import re
from collections.abc import Sequence
from pathlib import Path

from solo_adv.support.errors import UserError

_WORDS = {
    "data.train_path": {"train", "training"},
    "data.val_path": {"val", "valid", "validation", "test", "testing", "eval", "dev", "holdout"},
}
"""For each setting the words for the split that it names."""


def splits_among(names: Sequence[str]) -> dict[str, str]:
    """Which folders are splits: names of some of them by setting; empty if they are none.

    They are if one is called like a train split and another like a test split, or if all have such
    a word in their names. A folder called ``train`` beside others may be a class.

    Args:
        names: names of all folders that lie in one folder.
    """
    exact = {key: [n for n in names if n.lower() in words] for key, words in _WORDS.items()}
    if not all(exact.values()):
        exact = {key: [n for n in names if _has(n, words)] for key, words in _WORDS.items()}
        if sum(map(len, exact.values())) < len(names):
            return {}
    return {key: found[0] for key, found in exact.items() if found}


def refuse_splits(root: Path, names: Sequence[str], setting: str) -> None:
    """Refuse a folder whose sub-folders, taken as classes, are splits.

    Args:
        root: the folder.
        names: names of its sub-folders.
        setting: the setting that names the folder.

    Raises:
        UserError: they are splits; the message names the folder to give instead.
    """
    if found := splits_among(names):
        instead = " ".join(f"{key}={root / name}" for key, name in found.items())
        raise UserError(
            f"{setting}='{root}' holds the splits {', '.join(found.values())}, not classes: set "
            f"{instead}"
        )


def _has(name: str, words: set[str]) -> bool:
    return bool(words & set(re.findall(r"[a-z]+", name.lower())))
