"""What a config may say of an encoder; checked without importing torch or timm."""

import re
import sys
from functools import cache
from importlib import import_module
from typing import Any

from solo_adv.support.checks import choice
from solo_adv.support.errors import unknown
from solo_adv.support.signatures import package_folder

STEMS = ("auto", "cifar", "cifar_padding2", "imagenet")
_CIFAR_STEM_UP_TO = 64
IDENTITY = ([0.0, 0.0, 0.0], [1.0, 1.0, 1.0])
"""Mean and standard deviation that change nothing."""

# The names that solo-learn gives to networks of timm, and those of its own.
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
    """A stem other than ``auto``, which takes the CIFAR stem for images up to 64 pixels.

    Raises:
        UserError: there is no such stem.
    """
    choice("backbone.stem", stem, STEMS)
    if stem == "auto":
        return "cifar" if image_size <= _CIFAR_STEM_UP_TO else "imagenet"
    return stem


def resolve_name(name: str) -> str:
    """The name by which timm, or solo-learn for its own, knows a backbone.

    Raises:
        UserError: there is no such backbone.
    """
    name = _FROM_TIMM.get(name, name)
    if name in SOLO_LEARNS_OWN or is_timm_model(name):
        return name
    raise unknown("backbone.name", name, [*timm_models(), *_FROM_TIMM, *SOLO_LEARNS_OWN])


def is_timm_model(name: str) -> bool:
    """Whether timm can build a network of this name, with or without a tag behind a point."""
    timm: Any = sys.modules.get("timm")
    if timm is not None and hasattr(timm, "is_model"):  # it also knows those that users register
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
    """The current and the deprecated names in timm's source: importing timm takes seconds."""
    current: set[str] = set()
    deprecated: set[str] = set()
    for file in (package_folder("timm") / "models").glob("*.py"):
        source = file.read_text(encoding="utf-8")
        current.update(_REGISTERED.findall(source))
        for table in _DEPRECATED.findall(source):
            deprecated.update(re.findall(r"""['"](\w+)['"]\s*:""", table))
    if not current:  # its source is not as it was: ask itself
        current.update(import_module("timm").list_models())
    return frozenset(current), frozenset(deprecated)
