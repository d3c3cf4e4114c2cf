"""How a host's base class and the methods come together."""

from typing import Any

from solo_adv.methods import MIXINS, AdversarialMethod
from solo_adv.support.errors import UserError

_JOINED: dict[type, dict[str, Any]] = {}


def join(base: type) -> dict[str, Any]:
    """Every method on the given base class, by name; methods that are added later join it too."""
    methods = {name: _joined(mixin, base) for name, mixin in MIXINS.items()}
    _JOINED[base] = methods
    return methods


def add_method(name: str, method: type[AdversarialMethod]) -> None:
    """Make a method of your own known, under ``method=NAME``, on every host.

    Call it before a config is read, and under solo-learn before :func:`solo_adv.register`.

    Args:
        name: as configs and directories will name it.
        method: a subclass of ``AdversarialMethod`` that names an objective and an adversary.

    Raises:
        UserError: the name is taken, or unfit for a directory, or the class is no method.
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
