"""The settings of a robust evaluation, checked where they enter."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from solo_adv.adversaries import as_fraction
from solo_adv.checks import choice, flag, known_keys, number, whole
from solo_adv.errors import UserError
from solo_adv.evaluation.linear import HeadRecipe

PROTOCOLS = ("central",)
HEADS = ("standard", "robust")
FEATURES = ("hidden", "backbone")


@dataclass(frozen=True, kw_only=True)
class RobustSettings:
    """How to judge an encoder. The defaults are the paper's, or its code's where it is silent.

    Epsilons and step sizes are fractions of the pixel range, as numbers or text (``"8/255"``).

    Raises:
        UserError: a setting is unknown or out of range.
    """

    protocol: str = "central"
    """What of an image is judged: ``central``, the whole image."""
    linear: str = "standard"
    """Training of the head: ``standard``, or ``robust`` (r-LE)."""
    features: str = "hidden"
    """``hidden`` (the projector's first layer, as the reference) or ``backbone``."""
    epsilons: tuple[float, ...] = (4 / 255, 8 / 255, 16 / 255)
    steps: int = 20
    step_size: float = 0.01
    restarts: int = 1
    random_start: bool = False
    max_images: int | None = None
    """Judge this many test images, drawn by the seed; None: all."""
    batch_size: int = 512
    head: HeadRecipe = field(default_factory=HeadRecipe)
    train_epsilon: float = 8 / 255
    """Of the attack that the robust head is trained on, as the next two."""
    train_steps: int = 5
    train_step_size: float = 0.01
    knn_k: int = 20
    knn_temperature: float = 0.07
    seed: int = 5

    def __post_init__(self) -> None:
        choice("protocol", self.protocol, PROTOCOLS)
        choice("linear", self.linear, HEADS)
        choice("features", self.features, FEATURES)
        object.__setattr__(self, "epsilons", _epsilons(self.epsilons))
        for name in ("step_size", "train_epsilon", "train_step_size"):
            object.__setattr__(self, name, as_fraction(name, getattr(self, name)))
        for name in ("steps", "restarts", "batch_size", "train_steps", "knn_k"):
            whole(name, getattr(self, name), 1)
        if self.max_images is not None:
            whole("max_images", self.max_images, 1)
        flag("random_start", self.random_start)
        number("knn_temperature", self.knn_temperature, above_zero=True)
        whole("seed", self.seed, 0)
        if not isinstance(self.head, HeadRecipe):
            raise UserError(
                f"head must be a group of settings such as lr and epochs; got {self.head}."
            )

    @classmethod
    def from_config(cls, mapping: Mapping[str, Any]) -> "RobustSettings":
        """From a configuration group; what it leaves out is the default."""
        known_keys("the evaluation", mapping, cls)
        given = dict(mapping)
        if isinstance(given.get("head"), Mapping):
            given["head"] = HeadRecipe.from_config(given["head"])
        return cls(**given)

    def to_config(self) -> dict[str, Any]:
        """Plain values, as :meth:`from_config` takes them."""
        return {**asdict(self), "epsilons": list(self.epsilons)}


def _epsilons(given: Any) -> tuple[float, ...]:
    if isinstance(given, str) or not isinstance(given, Sequence):
        given = [given]
    epsilons = sorted({as_fraction("epsilons", epsilon) for epsilon in given})
    if not epsilons or epsilons[0] == 0:
        raise UserError(
            "epsilons must be one or more fractions above 0, such as [4/255, 8/255]; accuracy at 0 "
            f"is always measured. Got {list(given)}."
        )
    return tuple(epsilons)
