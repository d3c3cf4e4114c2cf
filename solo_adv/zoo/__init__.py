"""Pretrained robust encoders: list, download, load, check, export and publish them.

``solo_adv.load_pretrained(name)`` loads one; ``python -m solo_adv.zoo`` is the command line.
"""

from solo_adv.zoo.entry import Entry, StoredFile
from solo_adv.zoo.index import entries, find
from solo_adv.zoo.index import names as list
from solo_adv.zoo.loading import load
from solo_adv.zoo.publishing import publish
from solo_adv.zoo.remeasuring import evaluate

__all__ = ["Entry", "StoredFile", "entries", "evaluate", "find", "list", "load", "publish"]
