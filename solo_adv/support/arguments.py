"""Makes a command line as people type it into one that Hydra accepts, or says how to write it."""

import shlex
from collections.abc import Collection, Mapping, Sequence
from difflib import get_close_matches

from hydra._internal.utils import get_args_parser
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from solo_adv.support.errors import UserError

_PATHS = ("path", "dir", "checkpoint", "extractor")
"""How the names of keys end that stand for a path."""
_NOT_A_PATH = ("'", '"', "[", "{", "$")


def accepted_arguments(
    arguments: Sequence[str], *, short: Mapping[str, str], optional: Collection[str]
) -> list[str]:
    """The arguments in the form that Hydra accepts.

    Args:
        arguments: the command line without the program.
        short: keys that may be given in short, and the whole keys for which they stand.
        optional: keys that configs need not have, so that Hydra would want ``+`` before them.

    Raises:
        UserError: an argument is written in a way that Hydra misunderstands; the message has the
            right spelling.
    """
    refuse_misspelled(arguments)
    return [_accepted(argument, short, optional) for argument in arguments]


def _accepted(argument: str, short: Mapping[str, str], optional: Collection[str]) -> str:
    key, given, value = argument.partition("=")
    if not given or key.startswith("-"):
        return argument
    if key in short and not value.startswith("{"):
        key = short[key]
    if key.removeprefix("+") in optional:
        key = f"++{key.removeprefix('+')}"
    elif "." in key and key.startswith("+") and not key.startswith("++"):
        key = f"+{key}"  # Hydra would refuse + where another config has given the key already
    return f"{key}={_quoted(key, value)}"


def _quoted(key: str, value: str) -> str:
    """Quote what Hydra would take for an expression: a path with ``=`` in it, or ``größe``."""
    is_text = any(mark in value for mark in "/\\=~") or not value.isascii()
    if not (is_text or key.endswith(_PATHS)) or value.startswith(_NOT_A_PATH):
        return value
    if _is_parsed(key, value):
        return value
    quoted = "'" + value.replace("'", r"\'") + "'"
    return quoted if _is_parsed(key, quoted) else value


def _is_parsed(key: str, value: str) -> bool:
    try:
        OverridesParser.create().parse_override(f"{key}={value}")
    except HydraException:
        return False
    return True


def refuse_misspelled(arguments: Sequence[str]) -> None:
    """Refuse spaces around ``=`` and dashes before a key.

    Raises:
        UserError: the message has the right spelling.
    """
    flags = list(get_args_parser()._option_string_actions)
    for number, argument in enumerate(arguments):
        following = [*arguments[number + 1 :], ""]
        name, given, value = argument.partition("=")
        if argument == "=" or (argument.startswith("=") and number):
            key = arguments[number - 1] if number else "KEY"
            raise _write(f"{key}={argument[1:] or following[0]}", "without spaces around =")
        if given and not value and following[0] and not _is_argument(following[0]):
            raise _write(f"{name}={following[0]}", "without spaces around =")
        if not name.startswith("--") or any(flag.startswith(name) for flag in flags):
            continue
        right = name.replace("_", "-")
        if right in flags:
            raise _write(f"{right} {value or following[0]}".rstrip(), f"not {name}")
        nearest = get_close_matches(right, [flag for flag in flags if len(flag) > 2], 1, 0.85)
        if nearest:
            raise _write(f"{nearest[0]} {value or following[0]}".rstrip(), f"not {name}")
        value = value or ("VALUE" if _is_argument(following[0]) else following[0])
        raise _write(f"{name[2:].replace('-', '_')}={value or 'VALUE'}", "without dashes")


def _is_argument(text: str) -> bool:
    return text.startswith("-") or "=" in text


def _write(spelling: str, how: str) -> UserError:
    return UserError(f"Write {shlex.quote(spelling) if ' ' not in spelling else spelling}, {how}.")
