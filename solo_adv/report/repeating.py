"""The command that repeats an evaluation, from its report."""

import re
import shlex
from collections.abc import Iterator, Mapping
from importlib import resources
from typing import Any

from omegaconf import OmegaConf

from solo_adv.adversaries import AUTO, NORMS
from solo_adv.report.record import Report

_PLAIN = re.compile(r"[A-Za-z_./][\w./:@+-]*")
_WORDS_OF_HYDRA = ("null", "true", "false", "yes", "no", "on", "off", "nan", "inf")


def command(report: Report) -> str:
    """The command that measures a report anew.

    It names the checkpoint and every setting that differs from those in ``robust.yaml``. Old
    reports do not know ``encoder.*``, ``head_weights`` and, except for drawn labels, ``data.*``.
    """
    words = [f"checkpoint={_of_hydra(report.checkpoint)}"]
    usual = dict(_flat(_defaults(report.config["norm"])))
    for name, value in _flat(report.config):
        if name not in usual or usual[name] != value:
            words.append(f"{name}={_of_hydra(value)}")
    drawn = report.data.get("labels")
    if report.given is not None:
        words += [f"{name}={_of_hydra(value)}" for name, value in report.given.items()]
    elif drawn:
        words.append(f"data.labels={_of_hydra(drawn['part'])}")
        words.append(f"data.labels_seed={drawn['seed']}")
    return " ".join(["python main_robust.py", *map(shlex.quote, words)])


def _defaults(norm: str) -> dict[str, Any]:
    """The settings in ``robust.yaml``, with the norm's usual lengths in the place of ``auto``."""
    text = (resources.files("solo_adv.conf") / "robust.yaml").read_text(encoding="utf-8")
    held: Any = OmegaConf.to_container(OmegaConf.create(text))
    length = NORMS[norm].length
    for name in ("step_size", "train_epsilon", "train_step_size"):
        if held[name] == AUTO:
            held[name] = length(name, AUTO)
    if held["epsilons"] == AUTO:
        held["epsilons"] = [length("epsilons", e) for e in NORMS[norm].usual["epsilons"]]
    return dict(held)


def _flat(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The settings of nested groups under dotted names."""
    for name, value in config.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", list(value) if isinstance(value, tuple) else value


def _of_hydra(value: Any) -> str:
    """A value as Hydra's command line reads it."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{','.join(map(_of_hydra, value))}]"
    if not isinstance(value, str):
        return repr(value)
    if _PLAIN.fullmatch(value) and value.lower() not in _WORDS_OF_HYDRA:
        return value
    return "'" + value.replace("'", "\\'") + "'"
