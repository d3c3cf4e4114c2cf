"""A Trainer on the device, and a run of a few batches of any method in it."""

from collections.abc import Sequence
from contextlib import nullcontext
from itertools import chain
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.accelerators import Accelerator, AcceleratorRegistry
from lightning.pytorch.plugins import MixedPrecision
from lightning.pytorch.strategies import SingleDeviceStrategy
from lightning.pytorch.trainer.connectors.accelerator_connector import (
    _AcceleratorConnector as _Connector,
)

from solo_adv.data import ResidentLoader
from solo_adv.host.standalone import METHODS
from tests.device import pretend
from tests.device.devices import BATCH, configured, never_waiting


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
    if device == pretend.NAME and device not in AcceleratorRegistry:
        AcceleratorRegistry.register(device, _PretendAccelerator)
        _Connector._choose_strategy = _choose_strategy
        _Connector._check_and_init_precision = _choose_precision
    return {"accelerator": device}


_usual = _Connector._choose_strategy, _Connector._check_and_init_precision


def _choose_strategy(connector: _Connector) -> Any:
    """Lightning puts a single process of an accelerator that it does not know on the CPU."""
    chosen = _usual[0](connector)
    if connector._accelerator_flag == pretend.NAME:
        return SingleDeviceStrategy(torch.device(pretend.NAME, 0))
    return chosen


def _choose_precision(connector: _Connector) -> Any:
    """Lightning casts for CUDA on an accelerator that it does not know."""
    chosen = _usual[1](connector)
    if connector._accelerator_flag == pretend.NAME and isinstance(chosen, MixedPrecision):
        return MixedPrecision(chosen.precision, pretend.NAME)
    return chosen


def trainer(device: str, **settings: Any) -> Trainer:
    """A Trainer without files and progress bar."""
    quiet = ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary")
    usual = {**dict.fromkeys(quiet, False), "devices": 1, "max_epochs": 1, **settings_of(device)}
    return Trainer(**{**usual, **settings})


class Watching(Callback):
    """Lets no training step wait for the device, except the first one on CUDA and logged ones.

    The watch over the embeddings reads them at logged steps.

    Attributes:
        devices: The types of device of weights, statistics and the optimiser's state.
        logged: The types of device of what was logged in training steps; cpu for Python's numbers.
    """

    def __init__(self) -> None:
        self.devices: set[str] = set()
        self.logged: set[str] = set()

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
        log = pl_module.log

        def noted(name: str, value: Any, **options: Any) -> None:
            self.logged.add(value.device.type if isinstance(value, torch.Tensor) else "cpu")
            log(name, value, **options)

        pl_module.log = noted


def trained(method: str, device: str, *overrides: str) -> tuple[Any, Watching]:
    """Train a method for two batches (on CUDA three), of which the second is logged; watch it."""
    watching = Watching()
    overrides = ("precision=bf16-mixed", "optimizer.name=lars", *overrides)
    batches = 3 if device == "cuda" else 2
    return fitted(method, device, *overrides, batches=batches, callbacks=[watching]), watching


def fitted(
    method: str, device: str, *overrides: str, batches: int, callbacks: Sequence[Callback] = ()
) -> Any:
    """Train a method for some batches, of which every second one is logged."""
    cfg = configured(method, *overrides)
    cfg.log_every_n_steps = 2
    torch.manual_seed(3)
    made = METHODS[cfg.method](cfg).to(memory_format=torch.channels_last)
    images = torch.randint(0, 256, (batches * BATCH, 3, 16, 16), dtype=torch.uint8)
    labels = torch.arange(len(images)) % 10
    loader = ResidentLoader(
        images, labels, device=device, batch_size=BATCH, shuffle=True, drop_last=True, indexed=True
    )
    trainer(device, precision=cfg.precision, callbacks=list(callbacks)).fit(made, loader)
    return made
