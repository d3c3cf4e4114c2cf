"""Callbacks that draw while a run trains: its crops, and maps of its features."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from PIL import Image
from torch import Tensor, nn

from solo_adv.evaluation.mapping import check_kind, map_features
from solo_adv.methods import AdversarialMethod
from solo_adv.report.feature_map import write_map
from solo_adv.training.loggers import log_picture, take_pictures

IMAGES, VIEWS = 6, 8
"""At most so many images, and crops of each, are shown."""
MAPPED_IMAGES = 2000
"""At most so many images are on a map."""


class CropPictures(Callback):
    """Sends the crops of each epoch's first batch, clean and perturbed, to TensorBoard and W&B.

    It shows what the training step itself made. It draws no random number and passes nothing
    through the network, so that the run is the same without it.
    """

    def __init__(self) -> None:
        self._seen: Tensor | None = None

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Look on while the first batch of an epoch is trained on."""
        wanted = batch_idx == 0 and trainer.is_global_zero and take_pictures(trainer.loggers)
        if not (wanted and isinstance(pl_module, AdversarialMethod)):
            return
        updated = pl_module.updated

        def looked_on(crops: Any, delta: Tensor | None) -> Any:
            self._seen = crop_grid(crops.clean, crops.attacked, delta, len(crops.labels))
            return updated(crops, delta)

        pl_module.updated = looked_on  # type: ignore[method-assign,assignment]

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Stop looking on, and send what was seen last."""
        vars(pl_module).pop("updated", None)
        if self._seen is not None:
            log_picture(trainer.loggers, "crops", self._seen, trainer.global_step)
            self._seen = None


def crop_grid(clean: Tensor, attacked: Tensor, delta: Tensor | None, batch: int) -> Tensor:
    """Arrange crops in rows: of each image its crops and, below, the same crops perturbed.

    Args:
        clean: crops (M, 3, h, w) in [0, 1] that are not attacked, view-major.
        attacked: crops (N, 3, h, w) that are attacked; without any, the clean ones are shown.
        delta: the perturbation of the attacked crops (N, 3, h, w); None if nothing attacks.
        batch: number of images B.

    Returns:
        A picture, uint8 (3, H, W), on the CPU.
    """
    from torchvision.utils import make_grid  # noqa: PLC0415  takes seconds

    crops = attacked if len(attacked) else clean
    rows = [crops] if delta is None else [crops, crops + delta.detach()]
    shown = torch.stack([row.unflatten(0, (-1, batch))[:VIEWS, :IMAGES] for row in rows])
    _, views, images, *pixels = shown.shape
    in_order = shown.permute(2, 0, 1, 3, 4, 5).reshape(images * len(rows) * views, *pixels)
    grid: Tensor = make_grid(in_order.float().cpu(), nrow=views, pad_value=1.0)
    return (grid.clamp(0, 1) * 255).round().to(torch.uint8)


class AutoUMAP(Callback):
    """Writes maps of the validation images' features as the run goes on, as solo-learn does.

    Args:
        directory: where to write ``epoch-N.png`` and ``epoch-N.csv``.
        frequency: epochs between two maps; the last epoch gets one, too.
        kind: ``umap`` or ``tsne``.
        seed: seed of the map; the run's random numbers are not used.

    Raises:
        UserError: the kind is unknown, or its package is not installed.
    """

    def __init__(self, directory: Path, *, frequency: int, kind: str, seed: int) -> None:
        check_kind("auto_umap.kind", kind)
        self.directory = directory
        self.frequency = frequency
        self.kind = kind
        self.seed = seed

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the map of this epoch."""
        epoch = trainer.current_epoch + 1
        due = epoch % self.frequency == 0 or epoch == trainer.max_epochs
        if trainer.sanity_checking or not (due and trainer.is_global_zero):
            return
        shown = map_features(
            _Features(pl_module),
            trainer.datamodule.test_set,  # type: ignore[attr-defined]
            kind=self.kind,
            adversary=None,
            max_images=MAPPED_IMAGES,
            batch_size=500,
            device=pl_module.device,
            seed=self.seed,
        )
        self.directory.mkdir(parents=True, exist_ok=True)
        files = write_map(shown, self.directory / f"epoch-{epoch}")
        if take_pictures(trainer.loggers):
            pixels = np.array(Image.open(files["png"]).convert("RGB"))
            picture = torch.from_numpy(pixels).permute(2, 0, 1)
            log_picture(trainer.loggers, "feature map", picture, trainer.global_step)


class _Features(nn.Module):
    """A method's backbone, from pixels in [0, 1]."""

    def __init__(self, method: Any) -> None:
        super().__init__()
        self.method = method

    def forward(self, pixels: Tensor) -> Tensor:
        features: Tensor = self.method(self.method.from_pixels(pixels))["feats"]
        return features
