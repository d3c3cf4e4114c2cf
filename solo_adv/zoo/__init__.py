"""Pretrained robust encoders: list, download, load, check, export and publish them.

``solo_adv.load_pretrained(name)`` loads one; ``python -m solo_adv.zoo`` is the command line.
"""

from typing import TYPE_CHECKING

from solo_adv.catalogue.entry import Entry, StoredFile
from solo_adv.catalogue.index import entries, find
from solo_adv.catalogue.index import names as list
from solo_adv.support.lazy import lazy_names

if TYPE_CHECKING:
    from solo_adv.catalogue.loading import load
    from solo_adv.zoo.compacting import compact
    from solo_adv.zoo.export.hf import push_to_hub
    from solo_adv.zoo.publishing import extend, publish
    from solo_adv.zoo.remeasuring import evaluate

__all__ = [
    "Entry",
    "StoredFile",
    "compact",
    "entries",
    "evaluate",
    "extend",
    "find",
    "list",
    "load",
    "publish",
    "push_to_hub",
]

# These import torch, which listing the models does not need.
__getattr__ = lazy_names(
    __name__,
    {
        "compact": "solo_adv.zoo.compacting",
        "evaluate": "solo_adv.zoo.remeasuring",
        "extend": "solo_adv.zoo.publishing",
        "load": "solo_adv.catalogue.loading",
        "publish": "solo_adv.zoo.publishing",
        "push_to_hub": "solo_adv.zoo.export.hf",
    },
)
