"""Draws the crops that a method trains on, clean and perturbed, as one picture."""

from pathlib import Path

import torch
from omegaconf import DictConfig

from solo_adv.crops import build
from solo_adv.data import ImageSet, load_split
from solo_adv.encoders.checkpoint import find_checkpoint, read_checkpoint
from solo_adv.host import METHODS
from solo_adv.methods.adversarial import AdversarialMethod
from solo_adv.preview.perturbing import perturbed
from solo_adv.preview.sheet import draw_sheet
from solo_adv.support.errors import UserError
from solo_adv.training.config import data_config


def write_picture(
    cfg: DictConfig, output: Path, *, images: int, views: int, checkpoint: str | None
) -> None:
    """Write a picture of some train images, their crops, and the perturbed crops.

    Args:
        cfg: Complete config of a pretraining run; ``crops.backend`` draws the crops.
        output: The PNG to write.
        images: Number of images; ``cfg.seed`` decides which.
        views: Largest number of crops shown of an image.
        checkpoint: Checkpoint whose encoder is attacked; None: an untrained encoder.

    Raises:
        UserError: The data, the checkpoint or the output cannot be used.
    """
    spec, options = METHODS[cfg.method].crop_settings(cfg)
    train = load_split(data_config(cfg), "train")
    assert train is not None
    cfg.data.num_classes = train.num_classes
    torch.manual_seed(cfg.seed)
    method = METHODS[cfg.method](cfg).train()
    if checkpoint is not None:
        _load(method, checkpoint)

    pixels, targets = _some_images(train, min(images, len(train)), cfg.seed)
    draw = build(spec, options.backend, cfg.seed, chunk=options.chunk, compile=options.compile)
    crops = draw(pixels)
    attacked = perturbed(method, crops, targets)
    shape = (spec.num_crops, len(pixels))
    shown = slice(min(views, spec.num_crops))
    title = (
        f"{cfg.method} on {train.name}: {spec.num_crops} crops of {spec.size} pixels, "
        f"{options.backend} backend, {'untrained' if checkpoint is None else 'trained'} encoder"
    )
    picture = draw_sheet(
        pixels,
        crops.unflatten(0, shape)[shown],
        None if attacked is None else attacked.unflatten(0, shape)[shown],
        ball=method.adversary.ball,
        title=title,
    )
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_bytes(picture)
    except OSError as error:
        raise UserError(f"Cannot write --output '{output}': {error.strerror}.") from error
    print(output)


def _some_images(train: ImageSet, count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randperm(len(train), generator=generator)[:count].tolist()
    _, images, labels = zip(*(train.read(row) for row in rows), strict=True)
    return torch.stack(images), torch.tensor(labels)


def _load(method: AdversarialMethod, checkpoint: str) -> None:
    file = find_checkpoint(checkpoint)
    try:
        method.load_state_dict(read_checkpoint(file)["state_dict"])
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:300]
        raise UserError(f"The weights in {file} do not fit this config: {reason}") from error
