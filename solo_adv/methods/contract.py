"""What a method needs of the host it stands on: solo-learn's ``BaseMethod`` and two doors."""

from typing import Any

from lightning.pytorch import LightningModule
from omegaconf import DictConfig
from torch import Tensor, nn


class HostMethod(LightningModule):
    """The contract that every host's base class keeps; for type checkers and readers.

    A host's class is solo-learn's ``BaseMethod``, or behaves like it, plus ``to_pixels`` and
    ``from_pixels``. ``tests/host/test_contract.py`` holds every host present to it.
    """

    cfg: DictConfig
    """The complete config."""
    backbone: nn.Module
    """From images (N, 3, H, W) as ``forward`` takes them to features (N, features_dim)."""
    features_dim: int
    classifier: nn.Module
    """The online classifier, on detached backbone features."""
    no_channel_last: bool
    """Whether images stay in contiguous memory format."""

    def __init__(self, cfg: DictConfig) -> None:
        raise NotImplementedError

    @classmethod
    def add_and_assert_specific_cfg(cls, cfg: DictConfig) -> DictConfig:
        """Fill in the defaults of the host's own settings."""
        raise NotImplementedError

    @classmethod
    def crop_size(cls, cfg: DictConfig) -> int:
        """Side of the crops, in pixels, where the config names none."""
        raise NotImplementedError

    def complete_config(self) -> dict[str, Any]:
        """The config as plain values, with all that the host decides by itself made explicit.

        That is ``backbone.stem``, ``data.mean``, ``data.std`` and ``crops.size``: what a
        checkpoint must say so that its encoder can be rebuilt anywhere.
        """
        raise NotImplementedError

    def observe(self, feats: Tensor, targets: Tensor) -> None:
        """Take note of a training batch's features (N, features_dim) and targets (N,), for kNN."""
        raise NotImplementedError

    @property
    def learnable_params(self) -> list[dict[str, Any]]:
        """Parameter groups for the optimiser."""
        raise NotImplementedError

    def forward(self, X: Tensor) -> dict[str, Tensor]:
        """Images to ``logits`` (N, num_classes) and ``feats`` (N, features_dim)."""
        raise NotImplementedError

    def multicrop_forward(self, X: Tensor) -> dict[str, Tensor]:
        """Images to ``feats``."""
        raise NotImplementedError

    def to_pixels(self, images: Tensor) -> Tensor:
        """Images as the host's loader delivers them, as pixels: uint8, or float in [0, 1]."""
        raise NotImplementedError

    def from_pixels(self, pixels: Tensor) -> Tensor:
        """Pixels, float in [0, 1], as ``forward`` takes them; differentiable."""
        raise NotImplementedError
