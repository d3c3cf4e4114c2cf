"""Builds torch's and timm's optimisers and learning-rate schedules by solo-learn's names."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, MultiStepLR

from solo_adv.support.checks import choice, flags, known_keys
from solo_adv.support.errors import UserError
from solo_adv.support.settings import declared_types
from solo_adv.support.signatures import constructor

_OF_TORCH: dict[str, type[Optimizer]] = {
    "sgd": torch.optim.SGD,
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
}
OPTIMIZERS = (*_OF_TORCH, "lars")
_LARS_NAMES = {"eta": "trust_coeff", "clip_lr": "trust_clip"}
SCHEDULERS = ("warmup_cosine", "reference_cyclic", "step", "none")


def build_optimizer(
    name: str,
    groups: Iterable[Mapping[str, Any]],
    *,
    lr: float,
    weight_decay: float,
    exclude_bias_n_norm_wd: bool = False,
    **kwargs: Any,
) -> Optimizer:
    """Build an optimiser for parameter groups, with solo-learn's names of options.

    Args:
        name: ``sgd``, ``lars``, ``adam`` or ``adamw``.
        groups: dicts with ``params`` and, if they differ from the defaults, ``lr`` and
            ``weight_decay``.
        lr: learning rate as the optimiser uses it (already scaled by the batch size).
        weight_decay: L2 penalty (decoupled for ``adamw``).
        exclude_bias_n_norm_wd: whether one-dimensional parameters get no weight decay.
        kwargs: the optimiser's own options. ``lars`` has ``eta`` (the trust coefficient),
            ``clip_lr`` (whether rates never exceed ``lr``), ``exclude_bias_n_norm`` (whether
            one-dimensional parameters get the plain learning rate and no weight decay),
            ``momentum`` and ``nesterov``.

    Raises:
        UserError: the name or an option is unknown.
    """
    check_optimizer(name, kwargs)
    split = exclude_bias_n_norm_wd
    plain: dict[str, Any] = {"weight_decay": 0.0}
    if name == "lars":
        split = kwargs.pop("exclude_bias_n_norm", False) or split
        plain["always_adapt"] = False
        kwargs = {"momentum": 0.9, "always_adapt": True} | {
            _LARS_NAMES.get(key, key): value for key, value in kwargs.items()
        }
    elif name == "sgd":
        kwargs = {"momentum": 0.9, **kwargs}
    prepared = [part for group in groups for part in _prepare(group, plain if split else None)]
    try:
        return _class_of(name)(prepared, lr=lr, weight_decay=weight_decay, **kwargs)  # type: ignore[call-arg]
    except (TypeError, ValueError) as error:
        raise UserError(
            f"optimizer.name={name} does not take these optimizer.kwargs: {error} "
            "(optimizer.kwargs=null clears them)"
        ) from error


def check_optimizer(name: str, kwargs: Mapping[str, Any]) -> None:
    """Refuse a name or an option that :func:`build_optimizer` does not know.

    Raises:
        UserError: the name or an option is unknown. Values are not checked.
    """
    choice("optimizer.name", name, OPTIMIZERS)
    options = _options_of(name)
    known_keys("optimizer.kwargs", kwargs, options)
    flags("optimizer.kwargs", kwargs, options)


def _options_of(name: str) -> dict[str, Any]:
    """The keys that ``optimizer.kwargs`` may have, with their declared types."""
    if name == "lars":
        theirs = constructor("timm.optim.lars", "Lars")
        renamed = {ours: theirs[name] for ours, name in _LARS_NAMES.items()}
        options = {**theirs, **renamed, "exclude_bias_n_norm": bool}
        hidden = {*_LARS_NAMES.values(), "always_adapt"}
    else:
        options, hidden = declared_types(_OF_TORCH[name]), {"return"}
    hidden |= {"params", "lr", "weight_decay"}
    return {key: kind for key, kind in options.items() if key not in hidden}


def _class_of(name: str) -> type[Optimizer]:
    if name == "lars":
        from timm.optim import Lars  # noqa: PLC0415  takes seconds

        found: type[Optimizer] = Lars
        return found
    return _OF_TORCH[name]


def _prepare(group: Mapping[str, Any], plain: dict[str, Any] | None) -> list[dict[str, Any]]:
    """Split a group into one of its one-dimensional parameters, which get the options ``plain``,
    and one of the others. With None it stays whole."""
    options = {k: v for k, v in group.items() if k not in ("params", "name")}
    params: list[nn.Parameter] = list(group["params"])
    if plain is None:
        return [{"params": params, **options}]
    parts = [
        {"params": [p for p in params if p.ndim != 1], **options},
        {"params": [p for p in params if p.ndim == 1], **options, **plain},
    ]
    return [part for part in parts if part["params"]]


def check_scheduler(name: str, lr_decay_steps: list[int] | None) -> None:
    """Refuse a schedule that :func:`build_scheduler` does not know, or ``step`` without its epochs.

    Raises:
        UserError: the name is unknown, or ``step`` has no epochs.
    """
    choice("scheduler.name", name, SCHEDULERS)
    if name == "step" and not lr_decay_steps:
        raise UserError("scheduler.name=step needs scheduler.lr_decay_steps, a list of epochs.")


def build_scheduler(
    name: str,
    optimizer: Optimizer,
    *,
    total_steps: int,
    warmup_steps: int = 0,
    warmup_start_lr: float = 0.0,
    min_lr: float = 0.0,
    lr_decay_steps: list[int] | None = None,
) -> LRScheduler | None:
    """Build a learning-rate schedule that advances once a batch; ``step`` advances once an epoch.

    Args:
        name: ``warmup_cosine`` (a linear warm-up, then half a cosine down to ``min_lr``), ``step``
            (times 0.1 at each of the epochs ``lr_decay_steps``), ``none``, or
            ``reference_cyclic``, the schedule of the reference code. That is a cosine meant to
            advance once a batch, but advanced at every replay, so that the rate cycles replays/2
            times and, if the number of replays is even, ends at its peak.
        optimizer: the optimiser, whose groups keep the ratio of their learning rates.
        total_steps: number of batches in the whole run; replays of a batch do not count.
        warmup_steps: number of batches of warm-up.
        warmup_start_lr: learning rate at the first batch, if there is a warm-up.
        min_lr: learning rate at the end.
        lr_decay_steps: the epochs at which ``step`` lowers the rate.

    Returns:
        The schedule; None for ``none``.

    Raises:
        UserError: the name is unknown, or ``step`` has no epochs.
    """
    check_scheduler(name, lr_decay_steps)
    if name == "none":
        return None
    if name == "step":
        return MultiStepLR(optimizer, list(lr_decay_steps or ()))
    lr = optimizer.defaults["lr"]

    if name == "reference_cyclic":
        return LambdaLR(optimizer, lambda step: (1 + math.cos(math.pi * step / total_steps)) / 2)

    def factor(step: int) -> float:
        if step < warmup_steps:
            start = warmup_start_lr / lr
            return start + (1 - start) * step / warmup_steps
        progress = min(1.0, (step - warmup_steps) / max(1, total_steps - warmup_steps))
        end = min_lr / lr
        return end + (1 - end) * (1 + math.cos(math.pi * progress)) / 2

    return LambdaLR(optimizer, factor)
