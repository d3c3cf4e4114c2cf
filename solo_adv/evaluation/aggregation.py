"""Aggregation: an image is represented by the mean of the features of n of its crops.

Two adversaries are possible. ``space=image`` perturbs the image, and the crops follow: what an
adversary who hands in an image can do. ``space=crop`` perturbs each resized crop within a ball of
its own, as the reference code: stronger than any perturbation of the image, unless the colours of
the crops are stretched. The two are different threat models; their accuracies must not be compared
with each other as if they were one.
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
    """What the crops of pretraining were drawn from, with another number of them.

    Args:
        pretrain_config: complete pretraining config; its section ``crops`` counts.
        augmentation: ``full``, all that pretraining does (the reference), or ``geometric``, crop,
            resize and flip only.

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
    """The spec's crop, resize and flip alone."""
    return replace(spec, jitter_prob=0.0, grayscale_prob=0.0, blur_prob=0.0, solarize_prob=0.0)


class FixedCrops(nn.Module):
    """The same n crops of every image, drawn once, as in pretraining; differentiable.

    All images share the crops' parameters. So the crops are a function of the pixels alone:
    attack, verdict and every batch see the same one, and kNN and AutoAttack, which reorder images,
    need not know of crops. (The reference draws anew for each image, and attacks what it drew.)

    Args:
        spec: what to draw; ``num_crops`` is n.
        seed: of the one draw.
    """

    def __init__(self, spec: CropSpec, seed: int) -> None:
        super().__init__()
        self.spec = spec
        self.seed = seed
        self._backend = TorchCrops(spec)

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, 3, H, W) in [0, 1] to stacks (N, 3 n, size, size) of their crops."""
        count, _, height, width = images.shape
        crops = self._backend.apply(images, _of_each(self.parameters_for(height, width), count))
        views = crops.view(self.spec.num_crops, count, *crops.shape[1:])
        return views.transpose(0, 1).flatten(1, 2)

    def parameters_for(self, height: int, width: int) -> CropParameters:
        """The n crops of an image of that size."""
        return draw(self.spec, 1, height, width, torch.Generator().manual_seed(self.seed))

    def extra_repr(self) -> str:
        return f"{self.spec}, seed={self.seed}"


class AggregatingEncoder(nn.Module):
    """Mean of an encoder's features over the fixed crops of an image.

    Takes images (N, 3, H, W) under ``space=image``, and the stacks (N, 3 n, size, size) that
    `CropStacks` delivers under ``space=crop``; returns (N, D). Works through at most
    ``max_crops`` crops (but whole images) at a time; for gradients each part is computed twice
    (`torch.utils.checkpoint`), so that memory does not grow with N n.

    Args:
        encoder: from crops (M, 3, size, size) in [0, 1] to features (M, D), in eval mode.
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
    """Images that arrive (through `batches`) as the stacks (N, 3 n, size, size) of their crops."""

    def __init__(self, image_set: ImageSet, crops: FixedCrops) -> None:
        vars(self).update(vars(image_set))  # all that a set holds, whatever it comes to hold
        self.crops = crops

    def subset(self, indices: Sequence[int]) -> "CropStacks":
        return CropStacks(super().subset(indices), self.crops)


def _of_each(parameters: CropParameters, count: int) -> CropParameters:
    """Parameters of n crops for each of ``count`` images, view-major."""
    repeated = {
        field.name: getattr(parameters, field.name).repeat_interleave(count, dim=0)
        for field in fields(parameters)
    }
    return CropParameters(**repeated)
