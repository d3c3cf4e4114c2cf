"""How a host's base class and the methods come together."""

from typing import Any

from solo_adv.methods import MIXINS


def join(base: type) -> dict[str, Any]:
    """Every method on the given base class, by name."""
    return {
        name: type(
            mixin.__name__, (mixin, base), {"__doc__": mixin.__doc__, "__module__": base.__module__}
        )
        for name, mixin in MIXINS.items()
    }
