"""Lets the strength of the augmentation fall over a training run."""

from __future__ import annotations

from dataclasses import dataclass, replace

from solo_adv.crops.spec import CropSpec
from solo_adv.support.checks import flag, number, whole
from solo_adv.support.errors import UserError
from solo_adv.support.stages import start_of_stage

FADING = ("jitter_prob", "grayscale_prob", "blur_prob", "solarize_prob")
"""Probabilities that fall to 0 with the strength. Flips stay, because they keep the image whole."""
AMOUNTS = ("brightness", "contrast", "saturation", "hue")
"""How much the jitter changes, which may fall to 0 as well."""


@dataclass(frozen=True, kw_only=True)
class Annealing:
    """Keys of the section ``crops.anneal``.

    The strength falls linearly from 1 to 0. At strength s the probabilities of jitter, grayscale,
    blur and solarise are s times their own, and the smallest box is ``scale + s * (own - scale)``.

    Attributes:
        over: Share of the run over which the strength falls, in [0, 1]. 0 keeps the crops as they
            are.
        scale: Smallest share of the image area that a box has at strength 0, in (0, 1].
        stages: Number of equal stages of the run in which the strength is constant; 0 changes it
            with every batch.
        amounts: Whether the largest changes of brightness, contrast, saturation and hue fall, too:
            at strength s they are s times their own.

    Raises:
        UserError: A value is out of its range.

    Source:
        DynACL (https://arxiv.org/abs/2303.01289), which anneals over the whole run in 20 stages.
        Its code (``train_DynACL.py``, ``reload``) also lets the amounts fall (``over=1``,
        ``scale=1``, ``stages=20``, ``amounts=true``).
    """

    over: float = 0.0
    scale: float = 1.0
    stages: int = 0
    amounts: bool = False

    def __post_init__(self) -> None:
        number("crops.anneal.over", self.over, most=1.0)
        number("crops.anneal.scale", self.scale, most=1.0, above_zero=True)
        whole("crops.anneal.stages", self.stages, 0)
        flag("crops.anneal.amounts", self.amounts)

    def check(self, spec: CropSpec) -> None:
        """Refuse settings with which the augmentation would become stronger during the run.

        Raises:
            UserError: ``scale`` is below the smallest box that ``spec`` starts with.
        """
        if self.over and self.scale < spec.scale[0]:
            raise UserError(
                f"crops.anneal.scale={self.scale:g} is the smallest box at the end of the run and "
                f"must not be below crops.scale[0]={spec.scale[0]:g}, where the run starts."
            )

    def strength(self, progress: float) -> float:
        """The strength, from 1 to 0, when the share ``progress`` of the run is done."""
        if not self.over:
            return 1.0
        return max(0.0, 1.0 - start_of_stage(progress, self.stages) / self.over)

    def at(self, spec: CropSpec, progress: float) -> CropSpec:
        """What ``spec`` becomes when the share ``progress`` of the run is done."""
        strength = self.strength(progress)
        if strength == 1.0:
            return spec
        smallest, largest = spec.scale
        target = min(self.scale, largest)
        fading = FADING + AMOUNTS if self.amounts else FADING
        return replace(
            spec,
            scale=(min(target + strength * (smallest - target), largest), largest),
            **{name: strength * getattr(spec, name) for name in fading},
        )
