"""Says early which settings ``performance.graph=replay`` cannot be combined with."""

from typing import Any

import torch
from omegaconf import DictConfig

from solo_adv.adversaries import Adversary
from solo_adv.methods.replay_graph import check_device
from solo_adv.methods.tensor_rates import check_takes_tensors
from solo_adv.support.errors import UserError


def check_graph(cfg: DictConfig, adversary: Adversary) -> None:
    """Refuse settings under which a replay cannot be recorded as one graph.

    Nothing is refused with ``performance.graph=none``. Whether there is a CUDA device is only known
    when training begins.

    Args:
        cfg: a complete config.
        adversary: the adversary that it describes.

    Raises:
        UserError: there is such a setting; the message names it, the reason and the remedy.
    """
    if cfg.performance.graph == "none":
        return
    for key, value, refused, reason, remedy in _table(cfg, adversary):
        if refused:
            raise UserError(
                f"performance.graph=replay cannot be combined with {key}={value}: {reason}. Use "
                f"{remedy}, or performance.graph=none."
            )
    check_takes_tensors(cfg.optimizer.name)


def check_machine(cfg: DictConfig) -> None:
    """Refuse ``performance.graph=replay`` where Lightning would find no CUDA device.

    Raises:
        UserError: this is the case.
    """
    anything = cfg.get("accelerator") in (None, "auto", "gpu", "cuda")
    if cfg.performance.graph == "replay" and anything and not torch.cuda.is_available():
        check_device(torch.device("cpu"))


def _table(cfg: DictConfig, adversary: Adversary) -> list[tuple[str, Any, bool, str, str]]:
    compiling, accelerator = cfg.performance.compile, cfg.get("accelerator")
    accumulated, clipped = cfg.get("accumulate_grad_batches"), cfg.get("gradient_clip_val")
    precision, chunk, devices = cfg.precision, cfg.crops.chunk, cfg.get("devices")
    anomaly, ramp = cfg.get("detect_anomaly"), adversary.schedule.ramp
    norm = cfg.adversary.get("norm")
    processes = str(devices if isinstance(devices, int | str | None) else len(devices))
    several = processes.isdigit() and int(processes) > 1
    reads = adversary.ball is not None and adversary.ball.reads_numbers
    return [
        ("accelerator", accelerator, accelerator == "cpu", "only CUDA has graphs", "a CUDA device"),
        ("devices", devices, several, "it works in one process", "devices=1"),
        (
            *("accumulate_grad_batches", accumulated, (accumulated or 1) > 1),
            *("a graph holds one batch", "a larger optimizer.batch_size"),
        ),
        (
            *("gradient_clip_val", clipped, bool(clipped)),
            *("gradients are clipped outside of the graph", "gradient_clip_val=null"),
        ),
        (
            *("precision", precision, str(precision) in ("16", "16-mixed")),
            *("its loss scaling reads numbers from the device", "precision=bf16-mixed"),
        ),
        (
            *("performance.compile", compiling, compiling in ("reduce-overhead", "max-autotune")),
            *("they record graphs of their own", "performance.compile=default"),
        ),
        (
            *("crops.chunk", chunk, chunk is not None),
            *("a repeated pass reads the random state", "crops.chunk=null"),
        ),
        (
            *("adversary.norm", norm, reads),
            *("its projection reads numbers from the device", "adversary.norm=linf"),
        ),
        (
            *("adversary.ramp", ramp, bool(ramp)),
            *("a graph keeps the strength at which it was recorded", "adversary.ramp=0"),
        ),
        (
            *("detect_anomaly", anomaly, bool(anomaly)),
            *("it reads every gradient", "detect_anomaly=false"),
        ),
    ]
