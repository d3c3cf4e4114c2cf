"""Turns a config's dictionaries into typed objects, with errors that name the key."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, fields
from typing import Any, TypeVar, get_type_hints

from omegaconf import DictConfig, ListConfig, OmegaConf

from solo_adv.support.checks import flags, known_keys
from solo_adv.support.errors import UserError

T = TypeVar("T")


def section(cfg: DictConfig, name: str) -> dict[str, Any]:
    """The section ``name`` of a config as a plain dict, which is empty if it is absent or null.

    Raises:
        UserError: the config has something else than a mapping under that name.
    """
    value = cfg.get(name)
    if value is None:
        return {}
    if not isinstance(value, DictConfig | Mapping):
        raise UserError(f"{name} must be a mapping of settings; got {value!r}.")
    return plain(value)


def plain(value: Any) -> Any:
    """Turn OmegaConf's containers into dicts and lists with interpolations resolved.

    Other values are returned unchanged.
    """
    if isinstance(value, DictConfig | ListConfig):
        return OmegaConf.to_container(value, resolve=True)
    return value


def accepted_settings(build: Callable[..., Any]) -> dict[str, Any]:
    """Names and defaults of the arguments of ``build``, which is a dataclass or another class."""
    if hasattr(build, "__dataclass_fields__"):
        return {f.name: None if f.default is MISSING else f.default for f in fields(build)}  # type: ignore[arg-type]
    return {name: p.default for name, p in inspect.signature(build).parameters.items()}


def declared_types(build: Callable[..., Any]) -> dict[str, Any]:
    """Names and declared types of the arguments of ``build``, a dataclass or another class."""
    return get_type_hints(
        inspect.getattr_static(build, "__init__") if inspect.isclass(build) else build
    )


def construct(
    build: Callable[..., T], given: Mapping[str, Any], kind: str, *, besides: Sequence[str] = ()
) -> T:
    """Refuse unknown keys, then return ``build(**given)``.

    Args:
        build: a dataclass or another class.
        given: the settings to pass to it.
        kind: the section of the config, for messages.
        besides: further keys that the section may have. A caller that uses one must not leave it
            in ``given``.

    Raises:
        UserError: a key is unknown (the message proposes the most similar one), or a value has the
            wrong type.
    """
    known_keys(kind, given, [*accepted_settings(build), *besides])
    flags(kind, given, declared_types(build))
    try:
        return build(**given)
    except TypeError as error:
        raise UserError(f"{kind}: {error}") from error
