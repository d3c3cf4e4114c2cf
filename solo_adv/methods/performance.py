"""How a run is computed, as opposed to what: the ``performance`` section, and the precision."""

from dataclasses import dataclass

import torch
from omegaconf import DictConfig

from solo_adv.support.checks import choice, flag

COMPILE = ("none", "default", "reduce-overhead", "max-autotune")
AUTO = "auto"


@dataclass(frozen=True, kw_only=True)
class Performance:
    """Keys of the ``performance`` section.

    Attributes:
        disable_channel_last: keep images and weights contiguous (NCHW); solo-learn's key.
        compile: mode of torch.compile for the network, the loss and the adversary's step; ``none``
            for eager execution. ``reduce-overhead`` replays CUDA graphs.

    Raises:
        UserError: a value is not accepted.
    """

    disable_channel_last: bool = False
    compile: str = "none"

    def __post_init__(self) -> None:
        flag("performance.disable_channel_last", self.disable_channel_last)
        choice("performance.compile", self.compile, COMPILE)

    @property
    def mode(self) -> str | None:
        """What torch.compile calls the mode."""
        return None if self.compile == "default" else self.compile


def resolved_precision(cfg: DictConfig) -> str | int:
    """The config's ``precision``, with ``auto`` decided by the hardware that it will run on.

    ``auto`` is ``bf16-mixed`` on GPUs with bfloat16 matrix units (compute capability 8.0 and up)
    and on CPUs with them (AMX or AVX512-BF16), elsewhere ``32-true``.
    """
    precision: str | int = cfg.get("precision", "32-true")
    if precision != AUTO:
        return precision
    on_cpu = cfg.get("accelerator") == "cpu" or not torch.cuda.is_available()
    fast = _cpu_multiplies_bf16() if on_cpu else torch.cuda.get_device_capability() >= (8, 0)
    return "bf16-mixed" if fast else "32-true"


def _cpu_multiplies_bf16() -> bool:
    # Private functions of torch: one that has lost them has no fast path that we know of.
    checks = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
    return any(getattr(torch.cpu, name, bool)() for name in checks)
