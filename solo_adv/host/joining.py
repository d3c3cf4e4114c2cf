"""Makes classes from the methods and a host's base class."""

from typing import Any

from solo_adv.methods import MIXINS, AdversarialMethod
from solo_adv.support.errors import UserError

_JOINED: dict[type, dict[str, Any]] = {}


def join(base: type) -> dict[str, Any]:
    """Join every method to the given base class.

    Returns:
        The joined classes by name. Methods that :func:`add_method` adds later appear in it, too.
    """
    methods = {name: _joined(mixin, base) for name, mixin in MIXINS.items()}
    _JOINED[base] = methods
    return methods


def add_method(name: str, method: type[AdversarialMethod]) -> None:
    """Add your own method, so that ``method=NAME`` runs it on every host.

    Call this before a config is read, and under solo-learn before :func:`solo_adv.register`.

    Args:
        name: the method's name in configs and directories.
        method: a subclass of ``AdversarialMethod`` that names an objective and an adversary.

    Raises:
        UserError: the name is taken or cannot name a directory, or the class is not a method.
    """
    if not (isinstance(method, type) and issubclass(method, AdversarialMethod)):
        raise UserError(f"A method must be a subclass of AdversarialMethod; got {method!r}.")
    if not name.isidentifier():
        raise UserError(f"A method's name must be letters, digits and underscores; got '{name}'.")
    if MIXINS.get(name, method) is not method:
        raise UserError(f"There is a method '{name}' already: choose another name.")
    MIXINS[name] = method
    for base, methods in _JOINED.items():
        methods[name] = _joined(method, base)


def _joined(mixin: type, base: type) -> type:
    members = {"__doc__": mixin.__doc__, "__module__": base.__module__}
    return type(mixin.__name__, (mixin, base), members)
