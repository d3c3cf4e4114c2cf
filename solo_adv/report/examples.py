"""A few images before and after an attack, for the pages and the picture of a report."""

from dataclasses import dataclass

from torch import Tensor

from solo_adv.adversaries import Ball


@dataclass(frozen=True, kw_only=True)
class Examples:
    """Images (N, 3, H, W), pixels in [0, 1], before and after an attack, and their classes.

    If each crop is attacked separately, they are the first crops of images.
    """

    clean: Tensor
    attacked: Tensor
    ball: Ball
    """The ball of perturbations that the attack was allowed."""
    truth: list[str]
    """Names of the true classes."""
    before: list[str]
    """Names of the classes that the classifier predicts without attack."""
    after: list[str]
    """Names of the classes that the classifier predicts under attack."""

    def first(self, count: int) -> "Examples":
        """At most ``count`` of the images."""
        return Examples(
            clean=self.clean[:count],
            attacked=self.attacked[:count],
            ball=self.ball,
            truth=self.truth[:count],
            before=self.before[:count],
            after=self.after[:count],
        )
