"""Joins the methods to the base class of a host: the stand-in host, or solo-learn.

``METHODS`` has the methods on the stand-in host, which this package's own command line runs;
``solo_learn.METHODS`` has those on solo-learn. Every Hydra application in the environment imports
``plugin``, so this module imports nothing until ``METHODS`` is asked for.
"""

from typing import TYPE_CHECKING

from solo_adv.support.lazy import lazy_names

if TYPE_CHECKING:
    from solo_adv.host.standalone import METHODS

__all__ = ["METHODS"]

__getattr__ = lazy_names(__name__, {"METHODS": "solo_adv.host.standalone"})
