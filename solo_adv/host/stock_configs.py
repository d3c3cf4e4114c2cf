"""Reads configs that were written for solo-learn's own methods and now run one of ours.

This module does not import solo-learn; its callers pass in what they know of solo-learn's methods.
"""

import inspect
import re
import sys
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any

from omegaconf import DictConfig

from solo_adv.encoders import solo_config
from solo_adv.support.settings import plain, section

Config = Mapping[str, Any]

_RANDOM = (
    *("color_jitter", "grayscale", "gaussian_blur", "solarization", "equalization"),
    "horizontal_flip",
)


def delivers_whole_images(config: Config) -> bool:
    """Whether solo-learn's loaders deliver whole images, without any random augmentation."""
    return not any(map(_is_random, solo_config.augmentations(config)))


def _is_random(augmentation: Config) -> bool:
    boxes = augmentation.get("rrc") or {"enabled": False}
    smallest = boxes.get("crop_min_scale", 0.08)
    if boxes.get("enabled", True) and (smallest, boxes.get("crop_max_scale", 1.0)) != (1.0, 1.0):
        return True
    return any((augmentation.get(name) or {}).get("prob", 0.0) for name in _RANDOM)


def resolve_crops(cfg: DictConfig) -> None:
    """Replace ``crops.source=auto`` and say how many crops the loaders deliver, in place.

    The source becomes ``device`` if the loaders deliver whole images, so that the training step
    draws the crops. It becomes ``loader`` if they deliver random views, which then are the crops:
    crops of crops are drawn only if ``crops.source=device`` asks for them.
    """
    config, crops = plain(cfg), section(cfg, "crops")
    if crops.get("source") in (None, "auto"):
        crops["source"] = "device" if delivers_whole_images(config) else "loader"
    if crops["source"] == "loader":
        crops |= {"num_crops": solo_config.views(config), "size": solo_config.view_size(config)}
    cfg.crops = crops


def keys_read_by(methods: Iterable[type]) -> set[str]:
    """The keys of ``method_kwargs`` that the modules of these classes mention."""
    modules = {sys.modules[method.__module__] for method in methods}
    return {
        key
        for module in modules
        for key in re.findall(r"method_kwargs\.(\w+)", inspect.getsource(module))
    }


def of_other_methods(
    cfg: DictConfig, accepted: Iterable[str], ours: Iterable[str], others: set[str]
) -> list[str]:
    """The settings of a config that a method of solo-learn reads and this one does not.

    A key that none of solo-learn's methods reads counts as one of these, too, unless it is or
    resembles a key of this package: then it is a mistake, and the method refuses it.

    Args:
        cfg: the config.
        accepted: the keys of ``method_kwargs`` that the method takes.
        ours: the keys of ``method_kwargs`` that any method of this package takes.
        others: the keys of ``method_kwargs`` that solo-learn's methods read.

    Returns:
        Their dotted names.
    """
    accepted, ours = set(accepted), list(ours)
    foreign = [
        f"method_kwargs.{key}"
        for key in section(cfg, "method_kwargs")
        if key not in accepted and (key in others or not get_close_matches(key, ours))
    ]
    # solo/methods/base.py:631: the rates of a momentum encoder. Ours have `averaging`.
    return foreign + (["momentum"] if "momentum" in cfg else [])


def introduction(cfg: DictConfig, left_aside: Iterable[str], replays: int) -> str:
    """One line on what a method does with a config of solo-learn, for the start of a run.

    Args:
        cfg: the method's complete config.
        left_aside: what :func:`of_other_methods` found.
        replays: how often each batch is used for an update.
    """
    config = plain(cfg)
    crops, size = config["crops"], solo_config.view_size(config)
    if crops["source"] == "loader":
        said = f"the {crops['num_crops']} views of {size} pixels that solo-learn's loaders deliver"
        smaller = solo_config.views_of_other_sizes(config)
        if smaller:
            said += f" (their {smaller} views of other sizes are left out)"
        pixels = f"+data.image_size={size}"
        said += f" are its crops; augmentations=whole_image {pixels} draws the method's own instead"
    else:
        whole = "whole images" if delivers_whole_images(config) else "views that are crops already"
        said = f"draws {crops['num_crops']} crops of {crops['size']} pixels from {whole}"
    often = f", {replays} updates on each batch" if replays > 1 else ""
    aside = ", ".join(left_aside)
    return f"method={config['method']}: {said}. {config.get('max_epochs')} epochs{often}." + (
        f" Not used, because they belong to other methods: {aside}." if aside else ""
    )
