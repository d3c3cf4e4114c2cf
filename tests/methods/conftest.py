"""Fixtures that build methods on small networks and train them for a few batches."""

import pytest
import torch
from lightning.pytorch import Trainer
from omegaconf import OmegaConf
from torch.utils.data import DataLoader

from solo_adv import METHODS

BATCH, CLASSES, SIZE = 4, 3, 16
"""Number of images and of classes, and side of images and crops in pixels."""


def config(method, **changes):
    cfg = OmegaConf.create(
        {
            "method": method,
            "backbone": {"name": "resnet18", "kwargs": {"width": 4, "layers": [1, 1, 1, 1]}},
            "method_kwargs": {"proj_hidden_dim": 16, "proj_output_dim": 8},
            "data": {"dataset": "custom", "num_classes": CLASSES},
            "crops": {"num_crops": 2, "size": SIZE},
            "optimizer": {"name": "sgd", "batch_size": BATCH, "lr": 0.1, "weight_decay": 0.0},
            "scheduler": {"name": "none"},
            "max_epochs": 1,
        }
    )
    for key, value in changes.items():
        OmegaConf.update(cfg, key, value, force_add=True)
    return cfg


class Images(torch.utils.data.Dataset):
    def __init__(self, batches):
        generator = torch.Generator().manual_seed(0)
        shape = (BATCH * batches, 3, SIZE, SIZE)
        self.x = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)

    def __len__(self):
        return len(self.x)

    def __getitem__(self, index):
        return index, [self.x[index]], index % CLASSES


def fit_method(method, batches=1, precision="32-true", callbacks=(), batch_size=BATCH):
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=method.cfg.max_epochs,
        precision=precision,
        callbacks=list(callbacks),
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(method, DataLoader(Images(batches), batch_size=batch_size))
    return trainer


@pytest.fixture
def fit():
    """A function that trains a method on some batches of 4 images and returns the Trainer."""
    return fit_method


@pytest.fixture
def build():
    """A function that builds a method by name, with 2 crops of 16 pixels and changed settings."""

    def build(name, **changes):
        torch.manual_seed(0)
        return METHODS[name](config(name, **changes))

    return build
