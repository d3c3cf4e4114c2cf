"""Checks of settings, each with a message that says what is accepted."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from solo_adv.support.errors import UserError, unknown


def known_keys(kind: str, given: Mapping[Any, Any], accepted: type | Iterable[str]) -> None:
    """Refuse a key of ``given`` that is not ``accepted``: names, or the fields of a dataclass."""
    if isinstance(accepted, type) and is_dataclass(accepted):
        accepted = [field.name for field in fields(accepted)]
    if not isinstance(given, Mapping):
        raise UserError(f"{kind} must be a group of settings, key=value; got {given!r}.")
    names = list(accepted)  # type: ignore[arg-type]
    for key in given:
        if key not in names:
            raise unknown(f"key in {kind}", key, names or ["(none)"])


def choice(name: str, value: object, accepted: Iterable[str]) -> None:
    """Refuse a value that is none of the ``accepted`` ones."""
    if value not in (accepted := list(accepted)):
        raise unknown(name, value, accepted)


def is_number(value: object) -> bool:
    """Whether it is a finite number, and no bool."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def whole(name: str, value: object, minimum: int) -> None:
    """Refuse all but whole numbers of at least ``minimum``."""
    if isinstance(value, bool) or not isinstance(value, int) or value < minimum:
        raise UserError(f"{name} must be a whole number of at least {minimum}; got {value}.")


def number(name: str, value: object, *, above_zero: bool = False, most: float = math.inf) -> None:
    """Refuse all but finite numbers, above zero or at least zero, and at most ``most``."""
    if is_number(value):
        assert isinstance(value, int | float)
        if (value > 0 or (value == 0 and not above_zero)) and value <= most:
            return
    bound = "above 0" if above_zero else "of at least 0"
    bound += "" if most == math.inf else f" and at most {most:g}"
    raise UserError(f"{name} must be a number {bound}; got {value}.")


def flag(name: str, value: object) -> None:
    """Refuse all but true and false."""
    if not isinstance(value, bool):
        raise UserError(f"{name} must be true or false; got {value}.")
