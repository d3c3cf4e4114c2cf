"""A method's own training step without a Trainer, so that it can be counted, timed or checked."""

from typing import Any

import torch
from lightning.pytorch import Trainer
from omegaconf import DictConfig
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor

from solo_adv.cost.network import autocast
from solo_adv.crops import CropSpec
from solo_adv.host.standalone import METHODS
from solo_adv.methods.adversarial import AdversarialMethod
from solo_adv.methods.bank import Bank
from solo_adv.methods.teacher import FrozenTeacher


class RehearsedStep:
    """Training steps of a method on the stand-in host, without logging and schedule.

    It also works on tensors without memory (``FakeTensorMode``).

    Args:
        cfg: Complete config with ``data.num_classes``.
        batch_size: Number of images in the batch.
        device: Device of the method and the batch.
        ready_crops: Whether every step gets new noise as crops, instead of drawing crops of images.

    Attributes:
        method: The method, in training mode.
        optimizer: Its optimiser.
    """

    def __init__(
        self,
        cfg: DictConfig,
        batch_size: int,
        *,
        device: torch.device | str = "cpu",
        ready_crops: bool = True,
    ) -> None:
        self.device = torch.device(device)
        method: Any = METHODS[cfg.method](cfg).train()
        # Fake weights can change neither device nor memory format; the activations take their
        # format from the crops.
        if not any(isinstance(weight, FakeTensor) for weight in method.parameters()):
            last = {} if method.no_channel_last else {"memory_format": torch.channels_last}
            method = method.to(self.device, **last)
        self.method: AdversarialMethod = method
        if cfg.teacher.kind == "bank":
            method.bank = _blank_bank(method, batch_size, self.device)
        method._trainer = _IdleTrainer(cfg.max_epochs)
        found = method.configure_optimizers()
        self.optimizer = found[0][0] if isinstance(found, list | tuple) else found
        method.optimizers = lambda *_, **__: self.optimizer
        method.manual_backward = lambda loss, *_, **__: loss.backward()
        method.log_dict = method.log = lambda *_, **__: None
        method._is_logging_due = lambda *_: False
        if ready_crops:
            spec, _ = method.crop_settings(cfg)
            method.crops = _Noise(
                (spec.num_crops * batch_size, 3, spec.size, spec.size),
                self.device,
                torch.contiguous_format if method.no_channel_last else torch.channels_last,
            )
        self.precision = cfg.get("precision")
        size = cfg.data.get("image_size") or cfg.crops.size
        images = torch.randint(
            0, 256, (batch_size, 3, size, size), dtype=torch.uint8, device=self.device
        )
        views = [images]
        if cfg.crops.source == "loader":
            spec, _ = method.crop_settings(cfg)
            shape = (batch_size, 3, spec.size, spec.size)
            views = [torch.rand(shape, device=self.device) for _ in range(spec.num_crops)]
        targets = torch.arange(batch_size, device=self.device) % cfg.data.num_classes
        self.batch = [torch.arange(batch_size, device=self.device), views, targets]

    def __call__(self) -> None:
        """Take one step."""
        with autocast(self.precision, self.device):
            self.method.training_step(self.batch, 0)


def _blank_bank(method: AdversarialMethod, images: int, device: torch.device) -> Bank:
    """A bank of the shape that ``images`` training images would have."""
    assert isinstance(method.teacher, FrozenTeacher)
    targets = torch.zeros(images, method.teacher.encoder.features_dim, device=device)
    clusters = torch.zeros(images, dtype=torch.long, device=device)
    return Bank(targets, targets.mean(0), clusters if method.cfg.teacher.clusters else None)


class _IdleTrainer(Trainer):
    """Answers what a method asks of its Trainer; it never trains."""

    num_training_batches = 1

    def __init__(self, epochs: int) -> None:
        super().__init__(
            max_epochs=epochs,
            accelerator="cpu",
            devices=1,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        self.epochs = epochs

    @property
    def estimated_stepping_batches(self) -> int:
        return self.epochs


class _Noise(nn.Module):
    def __init__(
        self, shape: tuple[int, ...], device: torch.device, memory_format: torch.memory_format
    ) -> None:
        super().__init__()
        self.shape, self.device, self.memory_format = shape, device, memory_format

    def respec(self, spec: CropSpec) -> None:
        """Noise is noise, whatever the crops are drawn from."""

    def forward(self, images: Tensor) -> Tensor:
        empty = torch.empty(self.shape, device=self.device, memory_format=self.memory_format)
        return empty.uniform_()
