"""Public names of a package that are imported when they are asked for."""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def lazy_names(package: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """Make the ``__getattr__`` of a package, so that importing the package imports no home.

    Type checkers do not see these names; the package imports them under ``TYPE_CHECKING`` as well.

    Args:
        package: the package's ``__name__``.
        homes: for each name the module that defines it.
    """

    def get(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module '{package}' has no attribute '{name}'")
        return getattr(import_module(homes[name]), name)

    return get
