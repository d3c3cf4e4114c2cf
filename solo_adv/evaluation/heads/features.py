"""Extracts features of images, without augmentation, from a frozen encoder."""

import torch
from torch import Tensor, nn

from solo_adv.data import ImageSet
from solo_adv.encoders.classifier import require_eval
from solo_adv.evaluation.images import batches, num_batches
from solo_adv.support.errors import UserError
from solo_adv.support.progress import track


@torch.no_grad()
def extract(
    encoder: nn.Module, image_set: ImageSet, batch_size: int, device: torch.device | str
) -> tuple[Tensor, Tensor]:
    """Compute the features of all images, in the order of the set.

    Args:
        encoder: a network in eval mode on ``device``, from pixels (B, 3, H, W) in [0, 1] to (B, D).
        image_set: the images.
        batch_size: number of images in a forward pass.
        device: where to compute.

    Returns:
        Features, float32 (N, D), and labels (N,), both on ``device``.

    Raises:
        UserError: part of the encoder is in training mode, the set is empty, or the features are
            not finite.
    """
    require_eval(encoder)
    if len(image_set) == 0:
        raise UserError(f"{image_set.name} holds no image; check the data path.")
    features: Tensor | None = None
    done = 0
    stream = batches(image_set, batch_size, device)
    stage = f"Features of {image_set.name}"
    for images, _ in track(stream, stage, num_batches(image_set, batch_size)):
        batch = encoder(images)
        if features is None:  # joining the batches at the end would need twice the memory
            features = batch.new_empty(len(image_set), batch.shape[1], dtype=torch.float32)
        features[done : done + len(batch)] = batch
        done += len(batch)
    assert features is not None
    if not features.isfinite().all():
        raise UserError(
            f"The encoder's features of {image_set.name} are not all finite: the pretraining run "
            "has diverged. Take an earlier checkpoint, or pretrain again with a smaller lr."
        )
    return features, image_set.labels.to(device)
