"""The methods on solo-learn's own ``BaseMethod``. Imports solo-learn: only for who runs it.

Every answer to a line of solo-learn (v1.0.6) stands here, with that line named.
"""

from typing import Any

import torch
from omegaconf import DictConfig
from solo.methods.base import BaseMethod
from torch import Tensor

from solo_adv.host import join
from solo_adv.methods import AdversarialMethod
from solo_adv.methods.settings import plain, section

# solo/data/pretrain_dataloader.py, build_transform_pipeline: these override the YAML's mean and
# std, and all else falls back on ImageNet's.
_IMAGENET = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
_STATISTICS = {
    "cifar10": ([0.4914, 0.4822, 0.4465], [0.2470, 0.2435, 0.2616]),
    "cifar100": ([0.5071, 0.4865, 0.4409], [0.2673, 0.2564, 0.2762]),
    "stl10": ([0.4914, 0.4823, 0.4466], [0.247, 0.243, 0.261]),
    "imagenet100": _IMAGENET,
    "imagenet": _IMAGENET,
}


class SoloLearnMethod(BaseMethod):
    """solo-learn's base class with the two doors between its normalised images and pixels."""

    def __init__(self, cfg: DictConfig) -> None:
        super().__init__(cfg)
        mean, std = _statistics(self.cfg)
        self.register_buffer("_mean", torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("_std", torch.tensor(std).view(3, 1, 1), persistent=False)

    @classmethod
    def add_and_assert_specific_cfg(cls, cfg: DictConfig) -> DictConfig:
        """solo-learn's defaults, and a crop size where the config has none."""
        cfg = super().add_and_assert_specific_cfg(cfg)
        crops = section(cfg, "crops")
        if crops.get("size") is None:
            cfg.crops = {**crops, "size": _source_size(cfg)}
        return cfg

    def to_pixels(self, images: Tensor) -> Tensor:
        """Undo the normalisation; rounding may have left [0, 1] by a hair."""
        return (images * self._std + self._mean).clamp(0, 1)

    def from_pixels(self, pixels: Tensor) -> Tensor:
        """Normalise as solo-learn's pipelines do."""
        return (pixels - self._mean) / self._std


def _statistics(cfg: DictConfig) -> tuple[list[float], list[float]]:
    if cfg.data.dataset in _STATISTICS:
        return _STATISTICS[cfg.data.dataset]
    first = _first_augmentation(cfg)
    return first.get("mean", _IMAGENET[0]), first.get("std", _IMAGENET[1])


def _source_size(cfg: DictConfig) -> int:
    default = 32 if cfg.data.dataset in ("cifar10", "cifar100") else 224
    return int(_first_augmentation(cfg).get("crop_size", default))


def _first_augmentation(cfg: DictConfig) -> dict[str, Any]:
    augmentations = plain(cfg.get("augmentations")) or [{}]
    first: dict[str, Any] = augmentations[0]
    return first


METHODS: dict[str, type[AdversarialMethod]] = join(SoloLearnMethod)
"""The methods on solo-learn, by name."""
