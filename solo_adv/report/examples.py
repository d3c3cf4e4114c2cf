"""A few images before and after an attack, for the picture of a report."""

from dataclasses import dataclass

from torch import Tensor

from solo_adv.adversaries import Ball


@dataclass(frozen=True, kw_only=True)
class Examples:
    """Images (N, 3, H, W) in [0, 1] before and after an attack, and what the classifier sees.

    Where each crop is attacked, the first crop of each image.
    """

    clean: Tensor
    attacked: Tensor
    ball: Ball
    """Of the attack."""
    truth: list[str]
    """Class names, as the next two."""
    before: list[str]
    after: list[str]
