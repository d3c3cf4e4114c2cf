"""The interface of a host's base class: solo-learn's ``BaseMethod`` and some more."""

from typing import Any

from lightning.pytorch import LightningModule
from omegaconf import DictConfig
from torch import Tensor, nn


class HostMethod(LightningModule):
    """The contract that every host's base class keeps. Only type checkers and readers use it.

    A host's class is solo-learn's ``BaseMethod`` or behaves like it, and adds ``to_pixels`` and
    ``from_pixels``. ``tests/host/test_contract.py`` checks every host that is installed.
    """

    cfg: DictConfig
    """The complete config."""
    backbone: nn.Module
    """Network from images (N, 3, H, W) as ``forward`` takes them to features (N, features_dim)."""
    features_dim: int
    """Dimension of the backbone's features."""
    classifier: nn.Module
    """The online classifier, which learns from detached backbone features."""
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
        """Side of the crops in pixels if the config names none."""
        raise NotImplementedError

    def complete_config(self) -> dict[str, Any]:
        """The config as plain values, completed by the settings that the host decides by itself.

        These are ``backbone.stem``, ``data.mean``, ``data.std`` and ``crops.size``. A checkpoint
        must contain them so that its encoder can be rebuilt anywhere.
        """
        raise NotImplementedError

    def observe(self, feats: Tensor, targets: Tensor) -> None:
        """Give a training batch's features (N, features_dim) and targets (N,) to the online kNN."""
        raise NotImplementedError

    @property
    def learnable_params(self) -> list[dict[str, Any]]:
        """Parameter groups for the optimiser."""
        raise NotImplementedError

    def forward(self, X: Tensor) -> dict[str, Tensor]:
        """Compute ``logits`` (N, num_classes) and ``feats`` (N, features_dim) of images."""
        raise NotImplementedError

    def multicrop_forward(self, X: Tensor) -> dict[str, Tensor]:
        """Compute ``feats`` (N, features_dim) of images."""
        raise NotImplementedError

    def to_pixels(self, images: Tensor) -> Tensor:
        """Turn images from the host's loader into pixels, which are uint8 or float in [0, 1]."""
        raise NotImplementedError

    def from_pixels(self, pixels: Tensor) -> Tensor:
        """Turn pixels, float in [0, 1], into what ``forward`` takes, differentiably."""
        raise NotImplementedError
