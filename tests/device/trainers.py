"""A Trainer on the device, and a run of a few batches of any method in it."""

from contextlib import nullcontext
from itertools import chain
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.accelerators import Accelerator, AcceleratorRegistry
from lightning.pytorch.plugins import MixedPrecision
from lightning.pytorch.strategies import SingleDeviceStrategy, StrategyRegistry

from solo_adv.data import ResidentLoader
from solo_adv.host.standalone import METHODS
from solo_adv.reproduce.plan import composed
from solo_adv.training.config import parse_cfg
from tests.device import pretend
from tests.device.devices import BATCH, never_waiting, small


class _PretendAccelerator(Accelerator):
    def setup_device(self, device: torch.device) -> None:
        pass

    def get_device_stats(self, device: Any) -> dict[str, Any]:
        return {}

    def teardown(self) -> None:
        pass

    @staticmethod
    def parse_devices(devices: Any) -> int:
        return 1

    @staticmethod
    def get_parallel_devices(devices: Any) -> list[torch.device]:
        return [torch.device(pretend.NAME, 0)]

    @staticmethod
    def auto_device_count() -> int:
        return 1

    @staticmethod
    def is_available() -> bool:
        return pretend.MODULE.in_use

    @staticmethod
    def name() -> str:
        return pretend.NAME


def settings_of(device: str) -> dict[str, str]:
    """The Trainer's settings that choose the device."""
    if device != pretend.NAME:
        return {"accelerator": device}
    if device not in AcceleratorRegistry:
        AcceleratorRegistry.register(device, _PretendAccelerator)
        StrategyRegistry.register(device, SingleDeviceStrategy, device=torch.device(device, 0))
    return {"accelerator": device, "strategy": device}


def trainer(device: str, precision: str = "32-true", **settings: Any) -> Trainer:
    """A Trainer without files and progress bar."""
    settings = {"max_epochs": 1, **settings_of(device), **settings}
    if precision == "bf16-mixed" and device == pretend.NAME:
        settings["plugins"] = [MixedPrecision(precision, device)]
    else:
        settings["precision"] = precision
    quiet = ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary")
    return Trainer(devices=1, **{**dict.fromkeys(quiet, False), **settings})


class Watching(Callback):
    """Lets no training step wait for the device, except the first one on CUDA and logged ones.

    The watch over the embeddings reads them at logged steps.

    Attributes:
        devices: The types of device of weights, statistics and the optimiser's state.
    """

    def __init__(self) -> None:
        self.devices: set[str] = set()

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        states = [s.values() for optimizer in trainer.optimizers for s in optimizer.state.values()]
        held = [*pl_module.state_dict().values(), *chain(*states)]
        self.devices |= {t.device.type for t in held if isinstance(t, torch.Tensor)}

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        step, device = pl_module.training_step, trainer.strategy.root_device.type

        def watched(batch: Any, batch_idx: int) -> None:
            first = device == "cuda" and batch_idx == 0  # makes plans and workspaces
            free = first or pl_module._is_logging_due(batch_idx)
            with nullcontext() if free else never_waiting(device):
                step(batch, batch_idx)

        pl_module.training_step = watched


def trained(method: str, device: str, *overrides: str) -> tuple[Any, Watching]:
    """Train a method for three batches, of which the second is logged, and watch it."""
    overrides = ("precision=bf16-mixed", "optimizer.name=lars", *overrides)
    cfg = parse_cfg(composed(method, small(method, *overrides)))
    cfg.data.num_classes = 10
    cfg.log_every_n_steps = 2
    torch.manual_seed(3)
    made = METHODS[cfg.method](cfg).to(memory_format=torch.channels_last)
    images = torch.randint(0, 256, (3 * BATCH, 3, 16, 16), dtype=torch.uint8)
    labels = torch.arange(len(images)) % 10
    loader = ResidentLoader(
        images, labels, device=device, batch_size=BATCH, shuffle=True, drop_last=True, indexed=True
    )
    watching = Watching()
    trainer(device, cfg.precision, callbacks=[watching]).fit(made, loader)
    return made, watching
