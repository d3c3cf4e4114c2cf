"""From a checkpoint back to an encoder: pixels in, features out."""

from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.transforms.v2.functional import normalize

from solo_adv.backbones import build_backbone
from solo_adv.checks import choice
from solo_adv.errors import UserError
from solo_adv.methods.projector import Projector

FEATURES = ("hidden", "backbone", "projector")


class Encoder(nn.Module):
    """A pretrained encoder in eval mode: pixels (N, 3, H, W) in [0, 1] to features (N, D).

    Args:
        config: complete pretraining config.
        features: ``hidden`` (after the projector's first layer: what the paper evaluates),
            ``backbone``, or ``projector`` (the unit embeddings).
        crop_passes: how many crop passes it was trained for.
    """

    def __init__(self, config: Mapping[str, Any], features: str, crop_passes: int = 0) -> None:
        super().__init__()
        choice("features", features, FEATURES)
        self.config = dict(config)
        self.features = features
        self.crop_passes = crop_passes
        data, backbone = config["data"], config["backbone"]
        self.mean: list[float] | None = data.get("mean")
        self.std: list[float] | None = data.get("std")
        self.image_size: int = config["crops"]["size"]
        self.backbone, backbone_dim = build_backbone(
            backbone["name"],
            image_size=self.image_size,
            stem=backbone.get("stem", "auto"),
            **backbone.get("kwargs", {}),
        )
        kwargs = config["method_kwargs"]
        self.projector = Projector(
            backbone_dim, kwargs["proj_hidden_dim"], kwargs["proj_output_dim"]
        )
        self.features_dim: int = {
            "hidden": kwargs["proj_hidden_dim"],
            "backbone": backbone_dim,
            "projector": kwargs["proj_output_dim"],
        }[features]

    def forward(self, images: Tensor) -> Tensor:
        """Features (N, D) of pixels (N, 3, H, W), float in [0, 1]."""
        if self.mean is not None and self.std is not None:
            images = normalize(images, self.mean, self.std)
        features: Tensor = self.backbone(images)
        if self.features == "backbone":
            return features
        if self.features == "hidden":
            return self.projector.hidden(features)
        return self.projector(features)[1]


def load_pretrained(path: str | Path, *, features: str = "hidden") -> Encoder:
    """The encoder of a checkpoint, on the CPU, in eval mode, its weights frozen.

    Args:
        path: a ``.ckpt`` file, or the directory of a run (its newest checkpoint).
        features: ``hidden``, ``backbone`` or ``projector``; see :class:`Encoder`.

    Raises:
        UserError: no such file, not a checkpoint of this package, or it does not fit its config.
    """
    file = find_checkpoint(path)
    checkpoint = read_checkpoint(file)
    saved = checkpoint["solo_adv"]
    encoder = Encoder(saved["config"], features, saved["crop_passes"])
    state = {
        name: value
        for name, value in checkpoint["state_dict"].items()
        if name.split(".")[0] in ("backbone", "projector")
    }
    try:
        encoder.load_state_dict(state)
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise UserError(f"The weights in {file} do not fit its config: {reason[:400]}") from error
    return encoder.requires_grad_(False).eval()


def find_checkpoint(path: str | Path) -> Path:
    """The checkpoint file that ``path``, a file or a run's directory, means."""
    path = Path(path)
    if path.is_dir():
        files = sorted(path.glob("*.ckpt"), key=lambda file: file.stat().st_mtime)
        if not files:
            raise UserError(f"No checkpoint (*.ckpt) in the directory {path}.")
        return files[-1]
    if not path.exists():
        raise UserError(
            f"No checkpoint at {path}. Give the .ckpt file that pretraining printed, or its "
            "directory: trained_models/<method>/<version>."
        )
    return path


def read_checkpoint(file: Path) -> dict[str, Any]:
    """The contents of a checkpoint of this package; nothing in it is executed.

    Raises:
        UserError: it is not one.
    """
    try:
        checkpoint = torch.load(file, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        raise UserError(
            f"{file} is not a readable checkpoint: it is no PyTorch file, or holds more than "
            "tensors and plain values, which is refused because loading it would run code."
        ) from error
    except (RuntimeError, EOFError, ValueError, KeyError, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{file} is not a readable checkpoint: {reason}") from error
    if not isinstance(checkpoint, dict) or "state_dict" not in checkpoint:
        raise UserError(f"{file} is not a training checkpoint: it holds no 'state_dict'.")
    if "solo_adv" not in checkpoint:
        raise UserError(f"{file} was not made by solo-adv: it does not hold its config.")
    return checkpoint
