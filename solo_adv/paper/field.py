"""Reads ``field.yaml``: what the field's leaderboard prints for other methods."""

from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from omegaconf import OmegaConf

PROTOCOLS = ("slf", "alf", "aff")


@dataclass(frozen=True, kw_only=True)
class Placed:
    """A method's figures under one protocol of the leaderboard, in percent."""

    method: str
    venue: str
    link: str
    """Where the method is described."""
    source: str
    """Where the figures are printed."""
    dataset: str
    protocol: str
    """One of ``PROTOCOLS``."""
    clean: float
    """Accuracy without attack."""
    corruptions: float | None
    """Accuracy on common corruptions; None if it is not printed."""
    autoattack: float
    """Accuracy under AutoAttack in L-infinity at 8/255."""
    note: str = ""
    """What makes the figures hard to compare."""


@cache
def leaderboard() -> tuple[Placed, ...]:
    """Every method under every protocol."""
    text = (resources.files("solo_adv.paper") / "field.yaml").read_text(encoding="utf-8")
    content: Any = OmegaConf.to_container(OmegaConf.create(text))
    shared = {"source": content["source"], "dataset": content["dataset"]}
    found = []
    for method, held in content["methods"].items():
        figures = {protocol: held.pop(protocol) for protocol in PROTOCOLS}
        for protocol, (clean, corruptions, autoattack) in figures.items():
            found.append(
                Placed(
                    method=method,
                    protocol=protocol,
                    clean=clean,
                    corruptions=corruptions,
                    autoattack=autoattack,
                    **held,
                    **shared,
                )
            )
    return tuple(found)
