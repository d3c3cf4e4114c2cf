"""Adversarial self-supervised learning: robust image features without labels, at low cost."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from solo_adv.support.lazy import lazy_names

__all__ = [
    "METHODS",
    "UserError",
    "__version__",
    "add_method",
    "evaluate",
    "load_pretrained",
    "pretrain",
    "register",
    "run_benchmark",
    "zoo",
]

if TYPE_CHECKING:
    from solo_adv import zoo
    from solo_adv.host import METHODS
    from solo_adv.host.joining import add_method
    from solo_adv.host.plugin import register
    from solo_adv.interface import evaluate, pretrain, run_benchmark
    from solo_adv.pretrained import load_pretrained
    from solo_adv.support.errors import UserError

# Torch is imported only when something that needs it is asked for, so that Hydra plugins and
# command-line help stay quick.
_lazy_name = lazy_names(
    __name__,
    {
        "METHODS": "solo_adv.host",
        "UserError": "solo_adv.support.errors",
        "add_method": "solo_adv.host.joining",
        "run_benchmark": "solo_adv.interface",
        "evaluate": "solo_adv.interface",
        "load_pretrained": "solo_adv.pretrained",
        "pretrain": "solo_adv.interface",
        "register": "solo_adv.host.plugin",
    },
)


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return import_module("solo_adv.support.version").package_version()
    if name == "zoo":
        return import_module("solo_adv.zoo")
    return _lazy_name(name)


def __dir__() -> list[str]:
    return sorted(__all__)
