"""Loads pretrained networks of timm as encoders, with timm's weights or those of a file."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from solo_adv.encoders.backbones import create
from solo_adv.encoders.encoder import Encoder
from solo_adv.encoders.specification import is_timm_model, timm_models
from solo_adv.encoders.weights import fill, read_weights
from solo_adv.support.errors import UserError, unknown
from solo_adv.support.files import given_path

PREFIX = "timm:"
"""What the names of these encoders begin with: ``timm:NAME`` or ``timm:NAME@FILE``."""


def weights_file(name: str) -> Path | None:
    """The file that ``timm:NAME@FILE`` names; None for ``timm:NAME``."""
    file = name.removeprefix(PREFIX).partition("@")[2]
    return given_path(file) if file else None


def timm_encoder(name: str, *, features: str = "auto") -> Encoder:
    """Load a network of timm without its classifier, on the CPU, in eval mode, weights frozen.

    Its normalisation and image size are those that timm records for the weights of that name.

    Args:
        name: ``timm:NAME`` takes timm's weights, which timm downloads once. NAME may end in a tag
            (``vit_small_patch16_224.dino``). ``timm:NAME@FILE`` takes the weights of a
            ``.safetensors`` file, or of a ``.pth`` or ``.pt`` file of plain tensors; they must have
            exactly the network's names and shapes, apart from those of a classifier.
        features: ``backbone`` or ``auto``, which mean the same here.

    Raises:
        UserError: there is no such network, timm has no such weights, or they cannot be had or do
            not fit.
    """
    import timm  # noqa: PLC0415  takes seconds

    file, wanted = weights_file(name), name.removeprefix(PREFIX).partition("@")[0]
    architecture = wanted.partition(".")[0]
    if not is_timm_model(architecture):
        raise unknown("network of timm", architecture, timm_models())
    known = timm.list_pretrained(f"{architecture}.*")
    if wanted not in known and (wanted != architecture or (file is None and not known)):
        raise UserError(
            f"timm has no weights '{wanted}'; it has {', '.join(known) or 'none'}. Those of a file "
            f"are taken with {PREFIX}{architecture}@FILE."
        )
    if file is None:
        network = create(wanted, pretrained=True, num_classes=0)
    else:
        network = timm.create_model(wanted, num_classes=0)
        fill(network, _without_classifier(_read(file), network), file)
    return _encoder_of(network.eval(), wanted, features).requires_grad_(False).eval()


def _read(file: Path) -> Mapping[str, Tensor]:
    """The tensors of a weights file, without loading anything that could run code."""
    if not file.exists():
        raise UserError(f"There is no weights file {file}.")
    if file.suffix == ".safetensors":
        return read_weights(file)
    try:
        held = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file raises many types
        raise UserError(
            f"{file} is not a readable weights file: it must be .safetensors, or a PyTorch file "
            "that holds only tensors and plain values, because loading more would run code."
        ) from error
    for enclosing in ("state_dict", "model"):
        if isinstance(held, Mapping) and isinstance(held.get(enclosing), Mapping):
            held = held[enclosing]
    if not isinstance(held, Mapping) or not all(isinstance(v, Tensor) for v in held.values()):
        raise UserError(f"{file} is not a weights file: it holds something else than tensors.")
    return held


def _without_classifier(state: Mapping[str, Tensor], network: Any) -> dict[str, Tensor]:
    named = network.pretrained_cfg.get("classifier") or ()
    layers = (named,) if isinstance(named, str) else named
    beginnings = tuple(f"{layer}." for layer in layers)
    return {name: value for name, value in state.items() if not name.startswith(beginnings)}


def _encoder_of(network: Any, wanted: str, features: str) -> Encoder:
    """An :class:`Encoder` with the weights of a network of timm."""
    kept = network.pretrained_cfg
    size = kept["input_size"][-1]
    config = {
        "name": wanted,
        "method": "timm",
        "method_kwargs": {},
        "backbone": {"name": wanted.partition(".")[0], "stem": "imagenet", "kwargs": {}},
        "data": {"mean": list(kept["mean"]), "std": list(kept["std"]), "image_size": size},
        "crops": {"size": size},
    }
    encoder = Encoder(config, features, with_projector=False)
    encoder.backbone.load_state_dict(network.state_dict())
    return encoder
