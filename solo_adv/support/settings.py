"""From a config's dictionaries to typed objects, with errors that name the key."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, fields
from typing import Any, TypeVar

from omegaconf import DictConfig, ListConfig, OmegaConf

from solo_adv.support.checks import known_keys
from solo_adv.support.errors import UserError

T = TypeVar("T")


def section(cfg: DictConfig, name: str) -> dict[str, Any]:
    """The mapping ``name`` of a config as plain Python; empty if absent or null."""
    value = cfg.get(name)
    if value is None:
        return {}
    if not isinstance(value, DictConfig | Mapping):
        raise UserError(f"{name} must be a mapping of settings; got {value!r}.")
    return plain(value)


def plain(value: Any) -> Any:
    """OmegaConf containers as dicts and lists, interpolations resolved; the rest as it is."""
    if isinstance(value, DictConfig | ListConfig):
        return OmegaConf.to_container(value, resolve=True)
    return value


def accepted_settings(build: Callable[..., Any]) -> dict[str, Any]:
    """Names and defaults of what ``build``, a dataclass or a class, takes."""
    if hasattr(build, "__dataclass_fields__"):
        return {f.name: None if f.default is MISSING else f.default for f in fields(build)}  # type: ignore[arg-type]
    return {name: p.default for name, p in inspect.signature(build).parameters.items()}


def construct(
    build: Callable[..., T], given: Mapping[str, Any], kind: str, *, besides: Sequence[str] = ()
) -> T:
    """``build(**given)`` after refusing keys that it does not know.

    Args:
        build: a dataclass, or a class.
        given: its settings.
        kind: the section of the config, for messages.
        besides: further keys of that section, which are not ``build``'s.

    Raises:
        UserError: an unknown key (names the nearest), or a value of the wrong type.
    """
    known_keys(kind, given, [*accepted_settings(build), *besides])
    try:
        return build(**given)
    except TypeError as error:
        raise UserError(f"{kind}: {error}") from error
