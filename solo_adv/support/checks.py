"""Checks of settings. Each raises a UserError whose message says what is accepted."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

from solo_adv.support.errors import UserError, unknown
from solo_adv.support.spelling import dotted_keys, meant_keys


def known_keys(kind: str, given: Mapping[Any, Any], accepted: type | Iterable[str]) -> None:
    """Refuse a key of ``given`` that is not accepted.

    Args:
        kind: the group of settings, for messages.
        given: the settings.
        accepted: the accepted keys, or a dataclass whose fields are the accepted keys.

    Raises:
        UserError: ``given`` is no mapping or has an unknown key.
    """
    if isinstance(accepted, type) and is_dataclass(accepted):
        accepted = [field.name for field in fields(accepted)]
    if not isinstance(given, Mapping):
        raise UserError(f"{kind} must be a group of settings, key=value; got {given!r}.")
    names = list(accepted)  # type: ignore[arg-type]
    for key in given:
        if key not in names:
            others = [name for name in dotted_keys(given) if name not in given]
            meant = meant_keys(str(key), [*names, *others])
            raise unknown(f"key in {kind}", key, names or ["(none)"], meant=meant)


def choice(name: str, value: object, accepted: Iterable[str]) -> None:
    """Refuse a value that is not in ``accepted``, with a UserError that lists what is."""
    if value not in (accepted := list(accepted)):
        raise unknown(name, value, accepted)


def is_number(value: object) -> bool:
    """Whether ``value`` is a finite number and not a bool."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def whole(name: str, value: object, minimum: int) -> None:
    """Refuse anything but a whole number of at least ``minimum``, with a UserError."""
    if isinstance(value, bool) or not isinstance(value, int) or value < minimum:
        raise UserError(f"{name} must be a whole number of at least {minimum}; got {value}.")


def number(name: str, value: object, *, above_zero: bool = False, most: float = math.inf) -> None:
    """Refuse anything but a finite number in the range, with a UserError.

    Args:
        name: name of the setting, for the message.
        value: its value.
        above_zero: whether to refuse zero, too; negative numbers are always refused.
        most: the largest accepted number.
    """
    if is_number(value):
        assert isinstance(value, int | float)
        if (value > 0 or (value == 0 and not above_zero)) and value <= most:
            return
    bound = "above 0" if above_zero else "of at least 0"
    bound += "" if most == math.inf else f" and at most {most:g}"
    raise UserError(f"{name} must be a number {bound}; got {value}.")


def channel_statistics(name: str, value: object) -> None:
    """Refuse a mean or standard deviation of the channels that cannot be one of pixels in [0, 1].

    Args:
        name: name of the setting, which ends in ``mean`` or ``std``.
        value: its value.

    Raises:
        UserError: it is not a list of three numbers, or one of them is out of range.
    """
    if not (isinstance(value, list | tuple) and len(value) == 3 and all(map(is_number, value))):
        raise UserError(f"{name} must be three numbers, such as [0.5,0.5,0.5]; got {value}.")
    if max(value) > 1:
        raise UserError(f"{name} is {value}, but pixels are in [0, 1] here: divide it by 255.")
    if min(value) < 0:
        raise UserError(f"{name} is {value}, but pixels are in [0, 1]; none can be below 0.")
    if name.endswith("std") and min(value) == 0:
        raise UserError(f"{name} is {value}; images are divided by it, so none can be 0.")


def epochs_of(name: str, value: object) -> tuple[int, ...]:
    """Read a list of epochs, in ascending order.

    Raises:
        UserError: it is not a list of whole numbers of at least 1.
    """
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise UserError(f"{name} must be epochs, such as [15,20]; got {value}.")
    for epoch in value:
        whole(name, epoch, 1)
    return tuple(sorted(value))


def flag(name: str, value: object) -> None:
    """Refuse anything but true and false, with a UserError."""
    if not isinstance(value, bool):
        raise UserError(f"{name} must be true or false; got {value}.")


def flags(kind: str, given: Mapping[str, Any], declared: Mapping[str, Any]) -> None:
    """Refuse a value that is neither true nor false where the declared type is bool.

    Text such as ``no`` or ``off`` counts as true in Python, so it would turn an option on.

    Args:
        kind: the section of the config, for messages.
        given: its settings.
        declared: the types of settings, by name. Settings of other types than ``bool`` and
            ``bool | None`` are left alone.
    """
    for name, value in given.items():
        wanted = declared.get(name)
        if wanted == bool | None and value is None:
            continue
        if wanted in (bool, bool | None):
            flag(f"{kind}.{name}", value)
