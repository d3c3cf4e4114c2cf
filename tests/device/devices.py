"""What the checks of this folder need on either device, and small steps of the methods on it."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from omegaconf import DictConfig
from torch import Tensor

from solo_adv.adversaries import PGD, Free
from solo_adv.cost.rehearsal import RehearsedStep
from solo_adv.host.standalone import METHODS
from solo_adv.reproduce.plan import composed
from solo_adv.training.config import parse_cfg
from tests.device import pretend
from tests.taught import taught

ALL_METHODS = sorted(METHODS)
BATCH = 4


def kinds() -> list[str | None]:
    """The types of device that there are; ``[None]`` if there is none.

    torch cannot have a pretend device beside CUDA: page-locked memory would be of the former.
    """
    if torch.cuda.is_available():
        return ["cuda"]
    return [pretend.NAME if pretend.AVAILABLE else None]


@contextmanager
def never_waiting(device: str) -> Iterator[None]:
    """Raise an error where the CPU would wait for the device."""
    if device == pretend.NAME:
        pretend.MODULE.may_wait = False
        try:
            yield
        finally:
            pretend.MODULE.may_wait = True
        return
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


def small(method: str, *overrides: str) -> list[str]:
    """Overrides that make a method's network, batch and crops small."""
    crafting = {PGD: ("adversary.steps=2",), Free: ("adversary.replays=2",)}
    adversary = METHODS[method].adversary_class
    short = next((keys for kind, keys in crafting.items() if issubclass(adversary, kind)), ())
    projector = ("method_kwargs.proj_hidden_dim=64", "method_kwargs.proj_output_dim=16")
    return [
        *("data=digits", f"optimizer.batch_size={BATCH}", "backbone.kwargs.width=8"),
        *("crops.num_crops=2", "precision=32-true"),
        *(projector if METHODS[method].objective_class.projector else ()),
        *(*short, *taught(method), *overrides),
    ]


def configured(method: str, *overrides: str) -> DictConfig:
    """The complete config of a small run of a method."""
    cfg = parse_cfg(composed(method, small(method, *overrides)))
    cfg.data.num_classes = 10
    return cfg


def step(
    method: str, device: str, *overrides: str, ready_crops: bool = False, images: int = BATCH
) -> RehearsedStep:
    """Make a small step of a method, with the same weights on every device."""
    cfg = configured(method, *overrides)
    torch.manual_seed(3)
    return RehearsedStep(cfg, images, device=device, ready_crops=ready_crops)


def loss_and_gradient(method: str, device: str, *overrides: str) -> tuple[float, Tensor]:
    """Loss and gradient, as one vector, of a pass of crops that are the same on every device."""
    made = step(method, device, *overrides, ready_crops=True)
    spec, _ = made.method.crop_settings(made.method.cfg)
    generator = torch.Generator().manual_seed(1)
    crops = torch.rand(spec.num_crops * BATCH, 3, spec.size, spec.size, generator=generator)
    # Images that differ in colour and are alike in their views: between embeddings of plain noise,
    # which are nearly the same, bfloat16 keeps too few digits for a contrast at temperature 0.07.
    colours = torch.rand(BATCH, 3, 1, 1, generator=generator).repeat(spec.num_crops, 1, 1, 1)
    crops = 0.7 * colours + 0.3 * crops
    with torch.autocast(device, torch.bfloat16, enabled=made.precision == "bf16-mixed"):
        batch = made.method.batch_of(crops.to(device), made.batch[2])
        twins = made.method.objective.needs_twins
        delta = torch.zeros_like(batch.attacked) if twins else None
        _, update = made.method.updated(batch, delta)
        assert {t.device.type for t in update if isinstance(t, Tensor)} == {device}
        loss = made.method.objective(update).total
    loss.backward()
    gradients = [p.grad for p in made.method.backbone.parameters() if p.grad is not None]
    return loss.item(), torch.cat([g.double().cpu().flatten() for g in gradients])
