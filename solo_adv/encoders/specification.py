"""Checks what a config says about an encoder, without importing torch or timm."""

import re
import sys
from functools import cache
from importlib import import_module
from typing import Any

from solo_adv.support.checks import choice
from solo_adv.support.errors import unknown
from solo_adv.support.signatures import package_folder

STEMS = ("auto", "cifar", "cifar_padding2", "cifar_linear", "imagenet")
_CIFAR_STEM_UP_TO = 64
IDENTITY = ([0.0, 0.0, 0.0], [1.0, 1.0, 1.0])
"""Mean and standard deviation of a normalisation that changes nothing."""

# solo-learn's names of timm's networks.
_FROM_TIMM = {
    "vit_tiny": "vit_tiny_patch16_224",
    "vit_small": "vit_small_patch16_224",
    "vit_base": "vit_base_patch16_224",
    "vit_large": "vit_large_patch16_224",
    "swin_tiny": "swin_tiny_patch4_window7_224",
    "swin_small": "swin_small_patch4_window7_224",
    "swin_base": "swin_base_patch4_window7_224",
    "swin_large": "swin_large_patch4_window7_224",
}
SOLO_LEARNS_OWN = (
    *("poolformer_s12", "poolformer_s24", "poolformer_s36", "poolformer_m36", "poolformer_m48"),
    *("wide_resnet28w2", "wide_resnet28w8"),
)


def resolve_stem(stem: str, image_size: int) -> str:
    """Replace ``auto`` by ``cifar`` for images of up to 64 pixels, by ``imagenet`` for larger ones.

    Raises:
        UserError: there is no such stem.
    """
    choice("backbone.stem", stem, STEMS)
    if stem == "auto":
        return "cifar" if image_size <= _CIFAR_STEM_UP_TO else "imagenet"
    return stem


def resolve_name(name: str) -> str:
    """Translate a backbone's name to timm's or, for solo-learn's own networks, to solo-learn's.

    Raises:
        UserError: there is no such backbone.
    """
    name = _FROM_TIMM.get(name, name)
    if name in SOLO_LEARNS_OWN or is_timm_model(name):
        return name
    raise unknown("backbone.name", name, [*timm_models(), *_FROM_TIMM, *SOLO_LEARNS_OWN])


def solo_learns_name(name: str) -> str:
    """Translate timm's name of a network that solo-learn names otherwise; keep any other name."""
    return next((ours for ours, theirs in _FROM_TIMM.items() if theirs == name), name)


def is_timm_model(name: str) -> bool:
    """Whether timm can build a network of this name. It may end in a tag, as in ``name.tag``."""
    timm: Any = sys.modules.get("timm")
    if timm is not None and hasattr(timm, "is_model"):  # it also knows networks that users add
        return bool(timm.is_model(name))
    current, deprecated = _registered()
    return name.partition(".")[0] in current | deprecated


def timm_models() -> list[str]:
    """The names of timm's networks, without deprecated ones."""
    return sorted(_registered()[0])


_REGISTERED = re.compile(r"^@register_model\s+def (\w+)", re.MULTILINE)
_DEPRECATED = re.compile(
    r"^register_model_deprecations\(__name__, {(.*?)^}", re.MULTILINE | re.DOTALL
)


@cache
def _registered() -> tuple[frozenset[str], frozenset[str]]:
    """The current and the deprecated names, read from timm's source, as importing it is slow."""
    current: set[str] = set()
    deprecated: set[str] = set()
    for file in (package_folder("timm") / "models").glob("*.py"):
        source = file.read_text(encoding="utf-8")
        current.update(_REGISTERED.findall(source))
        for table in _DEPRECATED.findall(source):
            deprecated.update(re.findall(r"""['"](\w+)['"]\s*:""", table))
    if not current:  # another version of timm may register its models in another way
        current.update(import_module("timm").list_models())
    return frozenset(current), frozenset(deprecated)
