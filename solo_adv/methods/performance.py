"""Settings of how a run is computed: the ``performance`` section, and the precision."""

from dataclasses import dataclass

import torch
from omegaconf import DictConfig

from solo_adv.support.checks import choice, flag
from solo_adv.support.environment import hardware

COMPILE = ("none", "default", "reduce-overhead", "max-autotune")
GRAPH = ("none", "replay")
AUTO = "auto"


@dataclass(frozen=True, kw_only=True)
class Performance:
    """Keys of the ``performance`` section.

    Attributes:
        disable_channel_last: whether images and weights stay contiguous (NCHW). It is solo-learn's
            key.
        compile: mode of torch.compile for the network, the loss and the adversary's step; ``none``
            does not compile. ``reduce-overhead`` replays CUDA graphs.
        graph: ``replay`` records a whole replay as one CUDA graph (``replay_graph.py``); ``none``
            does not.
        keep_freed_memory: whether freed memory of the CPU is kept for the next batch, which
            concerns the whole process (``support.allocator``); None keeps it if the CPU trains.

    Raises:
        UserError: a value is not accepted.
    """

    disable_channel_last: bool = False
    compile: str = "none"
    graph: str = "none"
    keep_freed_memory: bool | None = None

    def __post_init__(self) -> None:
        flag("performance.disable_channel_last", self.disable_channel_last)
        if self.keep_freed_memory is not None:
            flag("performance.keep_freed_memory", self.keep_freed_memory)
        choice("performance.compile", self.compile, COMPILE)
        choice("performance.graph", self.graph, GRAPH)

    @property
    def mode(self) -> str | None:
        """torch.compile's name of the mode."""
        return None if self.compile == "default" else self.compile


def resolved_precision(cfg: DictConfig) -> str | int:
    """The config's ``precision``, with ``auto`` replaced according to the hardware.

    ``auto`` is ``bf16-mixed`` on GPUs with bfloat16 matrix units (compute capability 8.0 and up)
    and on CPUs that multiply bfloat16 faster than float32: those with AMX, and AMD's with
    AVX512-BF16. Elsewhere it is ``32-true``, also on Intel's with AVX512-BF16 alone, whose
    bfloat16 convolutions take longer (``benchmarks/results/step_cpu_intel.json``).
    """
    precision: str | int = cfg.get("precision", "32-true")
    if precision != AUTO:
        return precision
    fast = _cpu_multiplies_bf16() if on_cpu(cfg) else torch.cuda.get_device_capability() >= (8, 0)
    return "bf16-mixed" if fast else "32-true"


def on_cpu(cfg: DictConfig) -> bool:
    """Whether a run computes on the CPU."""
    return cfg.get("accelerator") == "cpu" or not torch.cuda.is_available()


def _cpu_multiplies_bf16() -> bool:
    # These are private functions of torch. If a version lacks them, float32 is the safe choice.
    if getattr(torch.cpu, "_is_amx_tile_supported", bool)():
        return True
    instructions = getattr(torch.cpu, "_is_avx512_bf16_supported", bool)()
    return bool(instructions) and "AMD" in hardware("cpu")["name"]
