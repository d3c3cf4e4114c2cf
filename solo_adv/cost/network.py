"""The arithmetic of a network, and how fast a machine does it."""

import json
import time
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from omegaconf import DictConfig
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from solo_adv.encoders.backbones import build_backbone
from solo_adv.encoders.projector import Projector
from solo_adv.support.settings import plain

_SECONDS_OF_MEASUREMENT = 3.0
_CROPS = {"cuda": 512, "cpu": 32}
_AUTOCAST = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}


class Network(NamedTuple):
    """What the arithmetic of a pass depends on."""

    backbone: str
    kwargs: str
    """As JSON."""
    size: int
    """Side of the crops, in pixels."""
    hidden: int
    """Width of the projector's hidden layers."""
    output: int
    """Dimension of the embeddings."""
    stem: str = "auto"

    @classmethod
    def of(cls, cfg: DictConfig) -> "Network":
        """That of a complete config."""
        return cls(
            cfg.backbone.name,
            json.dumps(plain(cfg.backbone.kwargs), sort_keys=True),
            cfg.crops.size,
            cfg.method_kwargs.proj_hidden_dim,
            cfg.method_kwargs.proj_output_dim,
            cfg.backbone.get("stem") or "auto",
        )

    def build(self) -> nn.Module:
        """From crops (N, 3, size, size) to embeddings (N, output), in training mode."""
        backbone, dim = build_backbone(
            self.backbone, image_size=self.size, stem=self.stem, **json.loads(self.kwargs)
        )
        return _Embedding(backbone, Projector(dim, self.hidden, self.output)).train()


YARDSTICK = Network("resnet18", "{}", 32, 4096, 1024)
"""The network that a throughput is of where none is named."""


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

    Two for each multiplication with its addition, as is usual.
    """
    with torch.device("meta"):
        module = network.build()
        crops = torch.empty(2, 3, network.size, network.size)  # one alone has no batch statistics
    with FlopCounterMode(display=False) as counter:
        module(crops).sum().backward()
    return counter.get_total_flops() // 2


def measured_throughput(
    network: Network = YARDSTICK,
    *,
    precision: str = "32-true",
    seconds: float = _SECONDS_OF_MEASUREMENT,
) -> float:
    """Crop passes a second of a network on this machine, from a short measurement.

    Args:
        network: whose forward and backward pass.
        precision: Lightning's name of it; ``bf16-mixed`` and ``16-mixed`` run under autocast.
        seconds: how long to measure, after a warm-up.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    channels_last = {"memory_format": torch.channels_last}
    module: nn.Module = network.build().to(device, **channels_last)  # type: ignore[call-overload]
    crops = torch.rand(_CROPS[device.type], 3, network.size, network.size, device=device)
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
    """As Lightning's precisions run a training step."""
    dtype = _AUTOCAST.get(str(precision))
    if dtype is None:
        return nullcontext()
    # Without the cache, whose copies of the weights would outlive an update within the step.
    return torch.autocast(torch.device(device).type, dtype=dtype, cache_enabled=False)
