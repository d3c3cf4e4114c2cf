"""What a job costs: updates, crop passes, and from a throughput the time.

A crop pass is one crop forward and backward, the unit that reports and progress bars count in too.
"""

import json
import time
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import NamedTuple

import torch
from omegaconf import DictConfig
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from solo_adv.backbones import build_backbone
from solo_adv.data import digits
from solo_adv.evaluation import RobustSettings
from solo_adv.methods.projector import Projector
from solo_adv.methods.settings import plain
from solo_adv.reproduce.plan import Job, composed

IMAGES = {
    "cifar10": (50_000, 10_000),
    "cifar100": (50_000, 10_000),
    "imagenet100": (126_689, 5_000),
    "digits": (1_797 - digits.TEST_IMAGES, digits.TEST_IMAGES),
}
"""Train and test images. ImageNet-100: of its usual list of classes; the paper does not say."""

FORWARD = 1 / 3
"""A forward pass alone, in crop passes: a backward pass is about twice a forward one."""
_SECONDS_OF_MEASUREMENT = 3.0


class Network(NamedTuple):
    """What the arithmetic of a pass depends on."""

    backbone: str
    kwargs: str
    """As JSON."""
    size: int
    """Side of the crops, in pixels."""
    hidden: int
    """Width of the projector."""


YARDSTICK = Network("resnet18", "{}", 32, 4096)
"""The network that a throughput is of."""


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a job takes. Passes are crop passes."""

    updates: int
    """Optimizer steps."""
    pretraining: int
    per_image: int
    """Of pretraining, for each training image."""
    evaluation: int
    """Heads and PGD; at most, as images once fooled are left alone. AutoAttack is not counted."""
    relative: float
    """Arithmetic of one pass in passes of the yardstick network."""

    def seconds(self, throughput: float) -> float:
        """Time at ``throughput`` passes a second of the yardstick network."""
        return (self.pretraining + self.evaluation) * self.relative / throughput


def cost(job: Job) -> Cost:
    """From the job's configs alone; nothing is loaded or trained."""
    cfg = job.complete_config()
    train, test = IMAGES[cfg.data.dataset]
    if cfg.data.fraction != -1:
        train = round(train * cfg.data.fraction)
    batch = cfg.optimizer.batch_size
    batches = train // batch * cfg.max_epochs
    per_batch = passes_of_batch(cfg)
    return Cost(
        updates=batches * cfg.adversary.get("replays", 1),
        pretraining=batches * batch * per_batch,
        per_image=per_batch * cfg.max_epochs,
        evaluation=sum(
            evaluation_passes(train, test, composed("robust", job.judging(e)))
            for e in job.evaluations
        ),
        relative=_operations(_network(cfg)) / _operations(YARDSTICK),
    )


def passes_of_batch(cfg: DictConfig) -> int:
    """Crop passes that a batch costs for each of its images, with a complete config.

    Every replay passes all views once. A PGD step passes all of them, or, where the attack is
    crafted between a view and its clean self (``adversary.pair=self``), the attacked views only.
    """
    views, adversary = cfg.crops.num_crops, plain(cfg.adversary)
    attacked = views - 1 if adversary.get("views") == "second" else views
    crafted = attacked if adversary.get("pair") == "self" else views
    passes: int = views * adversary.get("replays", 1) + crafted * adversary.get("steps", 0)
    return passes


def evaluation_passes(train: int, test: int, cfg: DictConfig) -> int:
    """Crop passes of a head and of PGD, at most."""
    known = {field.name for field in fields(RobustSettings)}
    held = {key: value for key, value in plain(cfg).items() if key in known}
    settings = RobustSettings.from_config(held)
    crops = settings.num_crops if settings.protocol == "crops" else 1
    judged = min(test, settings.max_images or test)
    seen = train * settings.head.epochs_for(train)
    head = seen * (settings.train_steps + FORWARD) if settings.linear == "robust" else 0
    features = (train + judged) * crops * FORWARD
    attacks = judged * crops * settings.steps * settings.restarts * len(settings.epsilons)
    return round(head + features + attacks)


def measured_throughput(seconds: float = _SECONDS_OF_MEASUREMENT) -> float:
    """Crop passes a second of the yardstick network on this machine, from a short measurement."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network = _build(YARDSTICK).to(device).train()
    crops = torch.rand(512 if device.type == "cuda" else 32, 3, YARDSTICK.size, YARDSTICK.size)
    crops = crops.to(device)
    done = -1  # the first pass is a warm-up
    begun = time.perf_counter()
    while done < 1 or time.perf_counter() - begun < seconds:
        network(crops).square().mean().backward()
        if device.type == "cuda":
            torch.cuda.synchronize()
        done += 1
        if done == 0:
            begun = time.perf_counter()
    return done * len(crops) / (time.perf_counter() - begun)


def _network(cfg: DictConfig) -> Network:
    kwargs = json.dumps(plain(cfg.backbone.kwargs), sort_keys=True)
    return Network(cfg.backbone.name, kwargs, cfg.crops.size, cfg.method_kwargs.proj_hidden_dim)


def _build(network: Network) -> nn.Module:
    backbone, dim = build_backbone(
        network.backbone, image_size=network.size, **json.loads(network.kwargs)
    )
    return nn.Sequential(backbone, Projector(dim, network.hidden, 1024).hidden)


@lru_cache
def _operations(network: Network) -> int:
    """Floating-point operations of a forward pass of one crop."""
    with torch.device("meta"):
        module = _build(network).eval()
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            module(torch.empty(1, 3, network.size, network.size))
    return counter.get_total_flops()
