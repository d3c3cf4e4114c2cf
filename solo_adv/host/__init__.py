"""The one seam: joins the methods to a host's base class.

``METHODS`` are those on the stand-in host, which this package's own command line runs;
``solo_learn.METHODS`` those on solo-learn. Nothing is imported before it is asked for, because
every Hydra application in the environment imports ``plugin``.
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
