"""Finds the keys of a config that somebody may have meant."""

from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from typing import Any

_OTHER_WORDS = {
    "bs": "batch_size",
    "dataset": "data",
    "epochs": "max_epochs",
    "eps": "epsilon",
    "gpus": "devices",
    "learning_rate": "lr",
    "model": "backbone.name",
    "arch": "backbone.name",
    "resume": "resume_from_checkpoint",
    "alpha": "step_size",
    "wd": "weight_decay",
    "workers": "num_workers",
    "output": "dir",
}


def dotted_keys(config: Mapping[Any, Any], prefix: str = "") -> Iterator[str]:
    """Every key of a config by its whole name, sections before what they hold."""
    for key, value in config.items():
        yield f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from dotted_keys(value, f"{prefix}{key}.")


def meant_keys(given: str, keys: Iterable[str], *, most: int = 3) -> list[str]:
    """Find the whole names of keys that ``given`` may stand for, the likeliest first.

    Args:
        given: what was written, such as ``eps`` or ``optimizer.learning_rate``.
        keys: the keys that exist, by their whole names.
        most: how many to return at most.
    """
    names = [key for key in keys if key != given]
    last = given.rpartition(".")[2]
    word = _OTHER_WORDS.get(last, last)
    same = [key for key in names if key == word or key.endswith(f".{word}")]
    if len(word) > 2:
        same += [key for key in names if key.rpartition(".")[2].startswith(word)]
    ends = {key.rpartition(".")[2]: key for key in reversed(names)}
    near = [ends[end] for end in get_close_matches(word, ends, most, 0.7)]
    near += get_close_matches(given, names, most, 0.8)
    return list(dict.fromkeys([*same, *near]))[:most]
