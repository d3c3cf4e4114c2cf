"""Joins the methods to the base class of a host: the stand-in host, or solo-learn.

``METHODS`` has the methods on the stand-in host, which this package's own command line runs;
``solo_learn.METHODS`` has those on solo-learn. Every Hydra application in the environment imports
``plugin``, so this module imports nothing until ``METHODS`` is asked for.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from solo_adv.host.standalone import METHODS

__all__ = ["METHODS"]


def __getattr__(name: str) -> Any:
    if name != "METHODS":
        raise AttributeError(f"module 'solo_adv.host' has no attribute '{name}'")
    from solo_adv.host.standalone import METHODS  # noqa: PLC0415

    return METHODS
