"""Which arguments of Lightning's Trainer a run takes, and why it refuses the others."""

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Literal, get_args, get_origin

from omegaconf import DictConfig

from solo_adv.methods.performance import AUTO
from solo_adv.support.checks import choice, number, whole
from solo_adv.support.errors import UserError
from solo_adv.support.settings import plain
from solo_adv.support.trainer_keys import TRAINER_KEYS

REFUSED: dict[str, tuple[tuple[Any, ...], str]] = {
    "limit_test_batches": (
        (),
        "a run has no test loop. main_robust.py and main_linear.py judge an encoder.",
    ),
    "limit_predict_batches": ((), "a run predicts nothing. load_pretrained gives the encoder."),
    "overfit_batches": (
        (0, 0.0),
        "it would take the images in their stored order and without the free adversary's places. "
        "data.fraction=0.01 trains on few images, limit_train_batches=10 on few batches an epoch.",
    ),
    "use_distributed_sampler": (
        (False,),
        "the loaders divide the images among the processes themselves.",
    ),
    "reload_dataloaders_every_n_epochs": (
        (0,),
        "the loaders draw a new order and new crops in every epoch as they are.",
    ),
    "default_root_dir": ((), "checkpoint.dir=DIR says where a run writes."),
    "barebones": (
        (False,),
        "it forbids the logs that a run makes. Turn off what you do not want: logger=false "
        "checkpoint.enabled=false knn_eval.enabled=false enable_progress_bar=false.",
    ),
    "enable_autolog_hparams": (
        (),
        "args.json and W&B get the whole config, whether it is set or not.",
    ),
    "model_registry": (
        (),
        "checkpoints go to checkpoint.dir; python -m solo_adv.zoo publish publishes a model.",
    ),
}
"""For each argument without a use here: the values that change nothing, and the reason."""

STRATEGIES = ("auto", "ddp", "ddp_find_unused_parameters_false")
_OF_NO_USE = {
    "ddp_spawn": "a spawned process cannot hand back the run's state",
    "ddp_fork": "a forked process cannot hand back the run's state",
    "ddp_notebook": "a forked process cannot hand back the run's state",
    "ddp_find_unused_parameters_true": "every parameter is used",
}
_OBJECTS = ("callbacks", "logger", "plugins", "profiler")
"""Arguments that may be objects, which a config describes by ``_target_`` as Hydra does."""
PROFILERS = ("simple", "advanced", "pytorch")

_NAMES = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "text",
    type(None): "null",
}


def trainer_settings(cfg: DictConfig) -> dict[str, Any]:
    """The top-level keys that belong to Lightning's Trainer and are not null."""
    return {key: plain(cfg[key]) for key in cfg if key in TRAINER_KEYS and cfg[key] is not None}


def complete_trainer_settings(cfg: DictConfig) -> None:
    """Check the Trainer's settings, and replace those that stand for others.

    ``fast_dev_run=N`` becomes one epoch of N batches without checkpoints and logs, and
    ``enable_checkpointing=false`` becomes ``checkpoint.enabled=false``.

    Raises:
        UserError: a value has the wrong type, or the argument has no use in a run.
    """
    settings = trainer_settings(cfg)
    for key, value in settings.items():
        _check_use(key, value)
        _check_type(key, value)
    if (batches := int(settings.get("fast_dev_run", 0))) > 0:
        cfg.update({"limit_train_batches": batches, "limit_val_batches": batches})
        cfg.update({"max_epochs": 1, "num_sanity_val_steps": 0, "logger": False})
        cfg.checkpoint.enabled = False
    if settings.get("enable_checkpointing") is False:
        cfg.checkpoint.enabled = False
    if settings.get("enable_checkpointing") and not cfg.checkpoint.enabled:
        raise UserError(
            "enable_checkpointing=true and checkpoint.enabled=false contradict each other: "
            "leave one of them out."
        )
    if cfg.get("logger") is False and (cfg.wandb.enabled or cfg.tensorboard.enabled):
        on = "wandb" if cfg.wandb.enabled else "tensorboard"
        raise UserError(f"logger=false turns off all logs, and {on}.enabled=true asks for one.")


def _check_use(key: str, value: Any) -> None:
    harmless, reason = REFUSED.get(key, ((value,), ""))
    if not any(value == same and type(value) is type(same) for same in harmless):
        raise UserError(f"{key}={value}: Lightning's Trainer has it, but here {reason}")
    if key == "strategy":
        _check_strategy(value)
    if key == "profiler" and not isinstance(value, Mapping):
        choice(key, value, PROFILERS)
    if key == "accumulate_grad_batches":
        whole(key, value, 1)
    if key == "gradient_clip_val":
        number(key, value)
    if key == "gradient_clip_algorithm":
        choice(key, value, ("norm", "value"))
    if key == "max_time":
        _check_duration(value)
    if key in _OBJECTS:
        _check_objects(key, value)


def _check_duration(value: Any) -> None:
    """Refuse what is no duration before the run has a directory."""
    try:
        if isinstance(value, Mapping):
            timedelta(**value)
            return
    except TypeError:  # a unit of time is unknown
        pass
    if not re.fullmatch(r"\d+:\d\d:\d\d:\d\d", str(value)):
        raise UserError(
            f"max_time={value}: give DD:HH:MM:SS, such as '00:12:00:00' for twelve hours, or "
            "{hours: 12}."
        )


def _check_strategy(value: Any) -> None:
    if value in _OF_NO_USE:
        raise UserError(
            f"strategy={value} is not supported: {_OF_NO_USE[value]}. Use strategy=ddp, which "
            "starts the processes anew."
        )
    if value not in STRATEGIES:
        raise UserError(
            f"strategy={value} is not supported: the attacks differentiate the loss of the whole "
            f"network by its input. Accepted: {', '.join(STRATEGIES)}."
        )


def _check_objects(key: str, value: Any) -> None:
    """Refuse a value that neither names a class nor is something that Lightning names."""
    for entry in value if isinstance(value, list) else [value]:
        if isinstance(entry, Mapping) and "_target_" in entry:
            continue
        named = {"logger": (bool,), "plugins": (str,), "profiler": (str,)}.get(key, ())
        if not isinstance(entry, named):
            example = _EXAMPLES.get(key, "{_target_: MODULE.CLASS}")
            raise UserError(
                f"{key} must name a class, as Hydra does: '+{key}={example}'; got {entry!r}."
            )


_EXAMPLES = {
    "callbacks": "[{_target_: lightning.pytorch.callbacks.DeviceStatsMonitor}]",
    "logger": "{_target_: lightning.pytorch.loggers.MLFlowLogger, experiment_name: cfamc}",
}


def _check_type(key: str, value: Any) -> None:
    """Check a value against the type that Lightning's Trainer declares.

    Raises:
        UserError: the value has the wrong type.
    """
    accepted = _simple_types(TRAINER_KEYS[key])
    if key == "precision":
        accepted = [AUTO, *accepted]
    if accepted and not any(_fits(value, kind) for kind in accepted):
        # Listed in the order of _NAMES, because Python does not keep the order of a union.
        kinds = [kind for kind in _NAMES if kind in accepted]
        kinds += [kind for kind in accepted if kind not in _NAMES]
        names = dict.fromkeys(_NAMES.get(kind, repr(kind)) for kind in kinds)
        raise UserError(f"{key} must be {' or '.join(names)}; got {value!r}.")


def _simple_types(declared: Any) -> list[Any]:
    """The classes and literal values that a declared type allows.

    The list is empty if the type allows something that a config cannot hold.
    """
    parts = list(get_args(declared)) or [declared]
    if get_origin(declared) is Literal:
        return parts
    if len(parts) > 1:
        found = [_simple_types(part) for part in parts]
        return [kind for kinds in found for kind in kinds] if all(found) else []
    return parts if declared in (int, float, bool, str, type(None)) else []


def _fits(value: Any, kind: Any) -> bool:
    if not isinstance(kind, type):  # a literal value
        return bool(value == kind) and type(value) is type(kind)
    if isinstance(value, bool):
        return kind is bool
    return isinstance(value, (int, float) if kind is float else kind)
