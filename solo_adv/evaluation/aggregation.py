"""Aggregation represents an image by the mean of the features of n of its crops.

Two adversaries are possible. With ``space=image`` the adversary perturbs the image, from which the
crops are then cut. Anyone who hands in an image can do this. With ``space=crop`` the adversary
perturbs each resized crop separately within the ball, as the reference code does. This is stronger
than any perturbation of the image, unless the colours of the crops are stretched. The two are
different threat models, so their accuracies must not be compared with each other.
"""

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from solo_adv.crops import CropParameters, CropSpec
from solo_adv.crops.parameters import draw
from solo_adv.crops.torch import TorchCrops
from solo_adv.data import ImageSet
from solo_adv.support.errors import UserError

SPACES = ("crop", "image")
AUGMENTATIONS = ("full", "geometric")


def crop_spec(
    pretrain_config: Mapping[str, Any], *, num_crops: int, augmentation: str = "full"
) -> CropSpec:
    """The distribution of the crops of pretraining, with another number of crops.

    Args:
        pretrain_config: the complete pretraining config, of which the section ``crops`` is used.
        num_crops: n, the number of crops of each image.
        augmentation: ``full`` draws crops as pretraining did (so does the reference code);
            ``geometric`` only crops, resizes and flips.

    Raises:
        UserError: the config does not say how crops were drawn.
    """
    section = pretrain_config.get("crops")
    if not isinstance(section, Mapping):
        raise UserError(
            "protocol=crops draws crops as pretraining did, and the pretraining config has no "
            "section 'crops': use protocol=central."
        )
    known = {field.name for field in fields(CropSpec)}
    spec = CropSpec.from_config({key: value for key, value in section.items() if key in known})
    spec = replace(spec, num_crops=num_crops)
    return without_colour(spec) if augmentation == "geometric" else spec


def without_colour(spec: CropSpec) -> CropSpec:
    """The same spec without colour jitter, grayscale, blur and solarise."""
    return replace(spec, jitter_prob=0.0, grayscale_prob=0.0, blur_prob=0.0, solarize_prob=0.0)


class FixedCrops(nn.Module):
    """Cuts the same n crops from every image, differentiably.

    The parameters of the crops are drawn once, as in pretraining, and all images share them. The
    crops are therefore a function of the pixels alone: the attack and the verdict see the same
    crops in every batch, and kNN and AutoAttack, which reorder images, need not know about crops.
    (The reference code draws new parameters for each image and attacks the crops that it drew.)

    Args:
        spec: the distribution of the crops; its ``num_crops`` is n.
        seed: seed of the draw.
    """

    def __init__(self, spec: CropSpec, seed: int) -> None:
        super().__init__()
        self.spec = spec
        self.seed = seed
        self._backend = TorchCrops(spec)

    def forward(self, images: Tensor) -> Tensor:
        """Cut images (N, 3, H, W), pixels in [0, 1], into stacks (N, 3 n, size, size) of crops."""
        count, _, height, width = images.shape
        crops = self._backend.apply(images, _of_each(self.parameters_for(height, width), count))
        views = crops.view(self.spec.num_crops, count, *crops.shape[1:])
        return views.transpose(0, 1).flatten(1, 2)

    def parameters_for(self, height: int, width: int) -> CropParameters:
        """The parameters of the n crops of an image with that height and width in pixels."""
        return draw(self.spec, 1, height, width, torch.Generator().manual_seed(self.seed))

    def extra_repr(self) -> str:
        return f"{self.spec}, seed={self.seed}"


class AggregatingEncoder(nn.Module):
    """Computes the mean of an encoder's features over the fixed crops of an image.

    It takes images (N, 3, H, W) under ``space=image`` and the stacks (N, 3 n, size, size) that
    `CropStacks` delivers under ``space=crop``. It returns features (N, D). If gradients are asked
    for, each part of the images is computed twice (`torch.utils.checkpoint`), so that memory does
    not grow with N n.

    Args:
        encoder: a network in eval mode from crops (M, 3, size, size), pixels in [0, 1], to features
            (M, D).
        crops: cuts the crops.
        space: ``image`` or ``crop``.
        max_crops: most crops in a forward pass; a single image may exceed it.
    """

    def __init__(
        self, encoder: nn.Module, crops: FixedCrops, *, space: str, max_crops: int
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.crops = crops
        self.space = space
        self.max_crops = max_crops

    def forward(self, inputs: Tensor) -> Tensor:
        parts = inputs.split(max(1, self.max_crops // self.crops.spec.num_crops))
        if len(parts) == 1 or not torch.is_grad_enabled():
            return torch.cat([self._means(part) for part in parts])
        means = [
            checkpoint(self._means, part, use_reentrant=False, preserve_rng_state=False)
            for part in parts
        ]
        return torch.cat(means)

    def _means(self, inputs: Tensor) -> Tensor:
        stacks = self.crops(inputs) if self.space == "image" else inputs
        size = stacks.shape[-1]
        features: Tensor = self.encoder(stacks.reshape(-1, 3, size, size))
        return features.view(len(stacks), self.crops.spec.num_crops, -1).mean(1)

    def extra_repr(self) -> str:
        return f"space={self.space}"


class CropStacks(ImageSet):
    """A set of images that `batches` delivers as stacks (N, 3 n, size, size) of their crops."""

    def __init__(self, image_set: ImageSet, crops: FixedCrops) -> None:
        vars(self).update(vars(image_set))  # copies attributes that ImageSet may get later, too
        self.crops = crops

    def subset(self, indices: Sequence[int]) -> "CropStacks":
        return CropStacks(super().subset(indices), self.crops)


def _of_each(parameters: CropParameters, count: int) -> CropParameters:
    """Repeat the parameters of n crops for each of ``count`` images, in view-major order."""
    repeated = {
        field.name: getattr(parameters, field.name).repeat_interleave(count, dim=0)
        for field in fields(parameters)
    }
    return CropParameters(**repeated)
