"""The one seam: joins the methods to a host's base class."""

from typing import Any

from solo_adv.host.standalone import StandaloneMethod
from solo_adv.methods import MIXINS, AdversarialMethod


def join(base: type) -> dict[str, Any]:
    """Every method on the given base class, by name."""
    return {
        name: type(
            mixin.__name__, (mixin, base), {"__doc__": mixin.__doc__, "__module__": __name__}
        )
        for name, mixin in MIXINS.items()
    }


METHODS: dict[str, type[AdversarialMethod]] = join(StandaloneMethod)
"""The methods on the stand-in host, by name: what this package's own command line runs."""

__all__ = ["METHODS", "join"]
