"""The arithmetic of a network, and the throughput of a machine."""

import json
import time
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from omegaconf import DictConfig
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from solo_adv.encoders.backbones import architecture, build_backbone
from solo_adv.encoders.projector import Projector
from solo_adv.support.allocator import keep_freed_memory
from solo_adv.support.settings import plain

_SECONDS_OF_MEASUREMENT = 3.0
_CROPS = {"cuda": 512, "cpu": 32}
"""Crops in a batch, of the paper's network. Smaller networks take more, up to 512."""
_AUTOCAST = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}


class Network(NamedTuple):
    """The settings that determine the arithmetic of a pass."""

    backbone: str
    kwargs: str
    """The backbone's keyword arguments as JSON, so that they can be hashed."""
    size: int
    """Side of the crops, in pixels."""
    hidden: int | None
    """Width of the projector's hidden layers; None without a projector."""
    output: int | None
    """Dimension of the embeddings; None without a projector."""
    stem: str = "auto"

    @classmethod
    def of(cls, cfg: DictConfig) -> "Network":
        """The network of a complete config."""
        return cls(
            cfg.backbone.name,
            json.dumps(plain(cfg.backbone.kwargs), sort_keys=True),
            cfg.crops.size,
            cfg.method_kwargs.get("proj_hidden_dim"),
            cfg.method_kwargs.get("proj_output_dim"),
            cfg.backbone.get("stem") or "auto",
        )

    def build(self) -> nn.Module:
        """A module from crops (N, 3, size, size) to embeddings (N, output), in training mode.

        Without a projector, it returns the backbone's features.
        """
        backbone, dim = build_backbone(
            self.backbone,
            image_size=self.size,
            stem=self.stem,
            **architecture(json.loads(self.kwargs)),
        )
        if self.hidden is None or self.output is None:
            return backbone.train()
        return _Embedding(backbone, Projector(dim, self.hidden, self.output)).train()


YARDSTICK = Network("resnet18", "{}", 32, 4096, 1024)
"""The paper's network, to which a throughput refers if no network is named."""


class _Embedding(nn.Module):
    def __init__(self, backbone: nn.Module, projector: Projector) -> None:
        super().__init__()
        self.backbone = backbone
        self.projector = projector

    def forward(self, crops: Tensor) -> Tensor:
        embeddings: Tensor = self.projector(self.backbone(crops))[1]
        return embeddings


@lru_cache
def pass_flops(network: Network) -> int:
    """Floating-point operations of one crop forward and backward (convolutions, matrix products).

    A multiplication and its addition count as two operations.
    """
    with torch.device("meta"):
        module = network.build()
        crops = torch.empty(2, 3, network.size, network.size)  # batch norm needs at least two
    with FlopCounterMode(display=False) as counter:
        module(crops).sum().backward()
    return counter.get_total_flops() // 2


def measured_throughput(
    network: Network = YARDSTICK,
    *,
    precision: str = "32-true",
    seconds: float = _SECONDS_OF_MEASUREMENT,
) -> float:
    """Measure how many crop passes a second a network makes on this machine.

    Args:
        network: The network whose forward and backward passes are timed.
        precision: Lightning's name; ``bf16-mixed`` and ``16-mixed`` run under autocast.
        seconds: How long to measure, after a warm-up.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device.type == "cpu":  # as training does
        keep_freed_memory()
    channels_last = {"memory_format": torch.channels_last}
    module: nn.Module = network.build().to(device, **channels_last)  # type: ignore[call-overload]
    count = min(
        512, round(_CROPS[device.type] * max(1, pass_flops(YARDSTICK) / pass_flops(network)))
    )
    crops = torch.rand(count, 3, network.size, network.size, device=device)
    crops = crops.to(**channels_last)  # type: ignore[call-overload]
    done = -1  # the first pass is a warm-up
    begun = time.perf_counter()
    while done < 1 or time.perf_counter() - begun < seconds:
        module.zero_grad()
        with autocast(precision, device):
            embeddings = module(crops)
        embeddings.float().square().mean().backward()
        if device.type == "cuda":
            torch.cuda.synchronize()
        done += 1
        if done == 0:
            begun = time.perf_counter()
    return done * len(crops) / (time.perf_counter() - begun)


def autocast(precision: object, device: torch.device | str) -> AbstractContextManager[Any]:
    """The autocast context in which Lightning runs a training step in this precision."""
    dtype = _AUTOCAST.get(str(precision))
    if dtype is None:
        return nullcontext()
    # Autocast's cache is off: it would keep casts of weights that a replay has already updated.
    return torch.autocast(torch.device(device).type, dtype=dtype, cache_enabled=False)
