"""The keys of the ``crops`` group that say how crops are drawn; `CropSpec` has what is drawn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from solo_adv.crops.annealing import Annealing
from solo_adv.crops.spec import CropSpec
from solo_adv.support.checks import choice, flag, known_keys, whole
from solo_adv.support.errors import UserError
from solo_adv.support.settings import construct

BACKENDS = ("torch", "dali", "torchvision")
SOURCES = ("auto", "device", "loader")


@dataclass(frozen=True, kw_only=True)
class CropOptions:
    """Where the crops are drawn and by which backend.

    Attributes:
        backend: ``torch`` (batched, on the images' device), ``dali`` (NVIDIA DALI cuts and
            resizes) or ``torchvision`` (PIL, crop by crop, the yardstick).
        source: ``device``: the training step draws the crops; ``loader``: the loader delivers
            them; ``auto``: the host replaces it by one of these, as its loaders need it.
        chunk: Number of crops that are made, and in training passed through the network, at a
            time. None makes them in chunks that suit the device and passes all through the network
            at once.
        compile: Whether the operations go through ``torch.compile``.
        anneal: How the strength of the augmentation falls over the run; an `Annealing` or a mapping
            with its fields.

    Raises:
        UserError: A value is not accepted.
    """

    backend: str = "torch"
    source: str = "auto"
    chunk: int | None = None
    compile: bool = False
    anneal: Annealing = field(default_factory=Annealing)

    def __post_init__(self) -> None:
        choice("crops.backend", self.backend, BACKENDS)
        choice("crops.source", self.source, SOURCES)
        if self.chunk is not None:
            whole("crops.chunk", self.chunk, 1)
        flag("crops.compile", self.compile)
        if not isinstance(self.anneal, Annealing):
            anneal = construct(Annealing, self.anneal or {}, "crops.anneal")
            object.__setattr__(self, "anneal", anneal)
        if self.backend == "torchvision" and (self.chunk is not None or self.compile):
            raise UserError(
                "crops.backend=torchvision works crop by crop: "
                "it takes neither crops.chunk nor crops.compile=true."
            )

    @classmethod
    def defaults(cls) -> dict[str, Any]:
        """All options with their default values, as in a config."""
        return asdict(cls())


def read_crops(config: Mapping[str, Any]) -> tuple[CropSpec, CropOptions]:
    """Read a ``crops`` group: the spec and the options. Missing keys have their defaults.

    Raises:
        UserError: Unknown key, or a value out of its range.
    """
    options = {field.name for field in fields(CropOptions)}
    known_keys("crops", config, [*(field.name for field in fields(CropSpec)), *options])
    spec = CropSpec(**{key: value for key, value in config.items() if key not in options})
    read = CropOptions(**{key: config[key] for key in options if key in config})
    read.anneal.check(spec)
    return spec, read
