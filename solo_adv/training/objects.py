"""Builds objects that a config describes as Hydra does: ``_target_`` and the arguments."""

from collections.abc import Mapping
from typing import Any

from hydra.utils import instantiate

from solo_adv.support.errors import UserError


def built_objects(key: str, described: Any) -> list[Any]:
    """Build the objects of one description or of a list; other entries stay as they are.

    Args:
        key: the key of the config, for messages.
        described: a mapping with ``_target_``, a list, or something else. None and booleans
            describe nothing.

    Raises:
        UserError: a class cannot be imported or built.
    """
    if described is None or isinstance(described, bool):
        return []
    entries = described if isinstance(described, list) else [described]
    try:
        return [instantiate(e) if isinstance(e, Mapping) else e for e in entries]
    except Exception as error:
        reason = " ".join(str(error.__cause__ or error).split())
        raise UserError(f"{key} cannot be built: {reason}") from error
