"""Prints what a pretraining run costs: length, arithmetic, data, time, money and memory."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from omegaconf import DictConfig
from rich.table import Table

from solo_adv.cost.network import Network, measured_throughput, pass_flops
from solo_adv.cost.work import IMAGES, Cost, cost, train_images
from solo_adv.support.checks import number, whole
from solo_adv.support.errors import UserError
from solo_adv.support.progress import duration
from solo_adv.support.terminal import print_table
from solo_adv.training.config import parse_cfg

if TYPE_CHECKING:
    from solo_adv.cost.memory import StepMemory

CLASSES = {"cifar100": 100, "imagenet100": 100}
"""Classes of the data sets that do not have ten."""
FLOAT, BYTE = 4, 1
BATCHES = (0.25, 0.5, 1, 2, 4)
"""Batch sizes in the memory table, relative to the config's."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """The command line's options beside the config.

    Attributes:
        throughput: Crop passes a second of the config's network; None: measured on this machine.
        price: Price of an hour on the machine.
        currency: Currency of the price, for the text.
        images: Number of train images; None: as many as the data set is known to have.
    """

    throughput: float | None = None
    price: float | None = None
    currency: str = "USD"
    images: int | None = None

    def __post_init__(self) -> None:
        if self.throughput is not None:
            number("--throughput", self.throughput, above_zero=True)
        if self.price is not None:
            number("--price", self.price)
        if self.images is not None:
            whole("--images", self.images, 1)


def report(cfg: DictConfig, options: Options) -> None:
    """Print what a pretraining run costs.

    Args:
        cfg: Config of the run, as composed. The data are not read and need not exist.

    Raises:
        UserError: The config or an option cannot be used.
    """
    cfg = _planned(cfg)
    if options.images is None and cfg.data.dataset not in IMAGES:
        raise UserError(
            f"data.dataset={cfg.data.dataset}: say with --images how many train images there are."
        )
    work = cost(cfg, images=options.images)
    if work.batches == 0:
        raise UserError(
            f"optimizer.batch_size={cfg.optimizer.batch_size} is more than the train images: "
            "there is no batch to train on."
        )
    # Lightning takes seconds to import, and a mistake is answered before.
    from solo_adv.cost.memory import step_memory  # noqa: PLC0415

    step = step_memory(cfg)
    for title, lines in (
        ("Run", _run_lines(cfg, work)),
        ("Arithmetic", _arithmetic_lines(cfg, work, step)),
        ("Data", _data_lines(cfg, train_images(cfg, options.images))),
        ("Time", _time_lines(cfg, work, step, options)),
    ):
        print(title)
        for name, text in lines:
            print(f"  {name:<12} {text}")
    print_table(_memory_table(cfg, step))
    print(
        "For one step on each device: weights, optimiser state, perturbation, gradients and "
        "activations.\nResident data and the libraries' own memory come on top."
    )


def _planned(cfg: DictConfig) -> DictConfig:
    """The config completed and checked, without looking for the data."""
    dataset = (cfg.get("data") or {}).get("dataset")
    if dataset != "digits":
        cfg.data = {**(cfg.get("data") or {}), "train_path": ".", "val_path": "."}
    cfg = parse_cfg(cfg)
    cfg.data.num_classes = CLASSES.get(cfg.data.dataset, 10)
    return cfg


def _run_lines(cfg: DictConfig, work: Cost) -> Iterable[tuple[str, str]]:
    replays, steps = cfg.adversary.get("replays", 1), cfg.adversary.get("steps", 0)
    adversary = f"PGD, {steps} steps" if steps else f"{replays} replays" if replays > 1 else "none"
    yield "method", f"{cfg.method}, adversary: {adversary}"
    yield "network", f"{cfg.backbone.name}, {cfg.crops.size} pixels, {cfg.precision}"
    yield (
        "length",
        f"{_ends(cfg)}, {work.batches:,} batches of {cfg.optimizer.batch_size} images x "
        f"{cfg.crops.num_crops} crops, {work.updates:,} updates",
    )


def _ends(cfg: DictConfig) -> str:
    """What ends the run, in words."""
    ends = [f"{cfg.max_epochs} epochs"]
    if (cfg.get("max_steps") or -1) > 0:
        ends.append(f"at most max_steps={cfg.max_steps} updates without replays")
    if cfg.get("max_time"):
        ends.append(f"if max_time={cfg.max_time} is enough")
    return ", ".join(ends)


def _arithmetic_lines(cfg: DictConfig, work: Cost, step: "StepMemory") -> Iterable[tuple[str, str]]:
    passes = work.pretraining // work.batches
    yield "a crop pass", f"{_flops(pass_flops(Network.of(cfg)))}, forward and backward"
    yield "a step", f"{_flops(step.flops)}, {passes:,} crop passes"
    yield (
        "the run",
        f"{_flops(step.flops * work.batches)}, {work.pretraining / 1e6:,.2f} M crop passes",
    )


def _data_lines(cfg: DictConfig, images: int) -> Iterable[tuple[str, str]]:
    side = cfg.data.get("image_size") or cfg.crops.size
    pixels, batch = 3 * side * side, cfg.optimizer.batch_size
    crops = batch * cfg.crops.num_crops * 3 * cfg.crops.size**2
    held = images * pixels * BYTE
    limit = cfg.data.get("max_resident_gib", 8) * 2**30
    resident = {True: True, False: False}.get(cfg.data.get("resident"), held <= limit)
    yield "train set", f"{_bytes(held)} as {side}-pixel images, 8 bits a channel"
    yield "crops", f"{_bytes(crops * FLOAT)} a batch, float32"
    if cfg.crops.source == "loader":
        wire = f"{_bytes(crops * FLOAT)}: the loader delivers crops"
    elif resident:
        wire = "nothing: images are resident on the device, crops are drawn there"
    else:
        wire = f"{_bytes(batch * pixels * BYTE)}: images; crops are drawn on the device"
    yield "to device", f"{wire} (for each batch)"


def _time_lines(
    cfg: DictConfig, work: Cost, step: "StepMemory", options: Options
) -> Iterable[tuple[str, str]]:
    network = Network.of(cfg)
    where = "as given"
    rate = options.throughput
    if rate is None:
        rate = measured_throughput(network, precision=cfg.precision)
        kind = "GPU" if torch.cuda.is_available() else "CPU"
        where = f"measured just now: the bare network on this machine's {kind}, {cfg.precision}"
    # The time follows the arithmetic, not the crop passes, because a step of an attack computes no
    # gradients of the weights and costs less than a crop pass.
    seconds = step.flops * work.batches / (rate * pass_flops(network))
    yield "throughput", f"{rate:,.0f} crop passes a second ({where})"
    epochs = max(1, work.batches / max(1, work.batches_of_epoch))
    yield "the run", f"{duration(seconds)}, {duration(seconds / epochs)} an epoch"
    if options.price is not None:
        money = seconds / 3600 * options.price
        yield "money", f"{money:,.2f} {options.currency} at {options.price:g} an hour"


def _memory_table(cfg: DictConfig, step: "StepMemory") -> Table:
    from solo_adv.cost.memory import step_memory  # noqa: PLC0415

    configured = cfg.optimizer.batch_size
    table = Table(title="Memory of a step", title_justify="left")
    for name in ("batch", "crops", "weights", "optimiser", "perturbation", "the rest", "peak"):
        table.add_column(name, justify="right")
    for batch in sorted({max(2, round(configured * factor)) for factor in BATCHES}):
        held = step if batch == configured else step_memory(cfg, batch)
        parts = (held.weights, held.optimizer, held.adversary, held.activations, held.peak)
        crops = f"{batch * cfg.crops.num_crops:,}"
        style = "bold" if batch == configured else ""
        table.add_row(f"{batch:,}", crops, *map(_bytes, parts), style=style)
    return table


def _flops(count: float) -> str:
    return _scaled(count, 1000, ("FLOP", "kFLOP", "MFLOP", "GFLOP", "TFLOP", "PFLOP", "EFLOP"))


def _bytes(count: float) -> str:
    return _scaled(count, 1024, ("B", "KiB", "MiB", "GiB", "TiB"))


def _scaled(count: float, base: int, units: tuple[str, ...]) -> str:
    unit = 0
    while count >= base and unit < len(units) - 1:
        count, unit = count / base, unit + 1
    return f"{count:,.3g} {units[unit]}" if count < 100 else f"{count:,.0f} {units[unit]}"
