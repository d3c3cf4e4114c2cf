"""The threat model: a ball of perturbations, cut by the pixel box. The maths of every attack.

Images and perturbations are in pixels, [0, 1]. A norm is known here and nowhere else.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import torch
from torch import Tensor

from solo_adv.support.checks import choice
from solo_adv.support.compiling import compiled_once
from solo_adv.support.errors import UserError

LossOf = Callable[[Tensor], Tensor]
"""From perturbed images (N, 3, H, W) to the scalar loss that the attack ascends."""


@dataclass(frozen=True)
class Ball:
    """What may be added to an image: every perturbation of a norm of at most ``epsilon``.

    Perturbed pixels stay in [0, 1] besides. ``Ball(norm, epsilon)`` is an instance of the class
    that :data:`NORMS` has for the norm; a new norm is a new such class.

    Args:
        norm: ``linf``, the largest change of a pixel.
        epsilon: radius, such as ``"8/255"``; see :meth:`length`.

    Raises:
        UserError: the norm is unknown, or epsilon is out of range.
    """

    norm: str
    epsilon: float

    name: ClassVar[str]
    """How the norm is written in text, such as ``L-infinity``."""
    axis: ClassVar[str]
    """What epsilon measures, for the axis of a plot."""

    def __new__(cls, norm: str = "linf", epsilon: float | str = 0.0) -> "Ball":
        choice("norm", norm, NORMS)
        return super().__new__(NORMS[norm])

    def __init__(self, norm: str, epsilon: float | str) -> None:
        object.__setattr__(self, "norm", norm)
        object.__setattr__(self, "epsilon", self.length("epsilon", epsilon))

    @staticmethod
    def length(name: str, value: float | str) -> float:
        """A radius or step size in this norm, given as a number or as text such as ``"8/255"``.

        Args:
            name: of the setting, for the error.

        Raises:
            UserError: it is neither, or out of range; the message shows the right form.
        """
        raise NotImplementedError

    def start(self, images: Tensor, generator: torch.Generator | None) -> Tensor:
        """A random perturbation of ``images`` (N, 3, H, W): uniform in the ball, then projected."""
        raise NotImplementedError

    def step(
        self,
        delta: Tensor,
        gradient: Tensor,
        images: Tensor,
        *,
        step_size: float,
        compiled: bool = False,
    ) -> Tensor:
        """One steepest step of length ``step_size`` up the gradient, and :meth:`project`.

        In place on ``delta`` (N, 3, H, W). Gradients that overflowed to NaN (possible under float16
        loss scaling) count as zero.

        Args:
            compiled: as one fused kernel of torch.compile's, where the norm has one; the result is
                the same to the bit.
        """
        raise NotImplementedError

    def project(self, delta: Tensor, images: Tensor) -> Tensor:
        """The nearest perturbation inside the ball and, added to ``images``, inside [0, 1].

        Exact in floating point: no perturbation exceeds epsilon and no pixel leaves [0, 1], not by
        one rounding. In place on ``delta`` (N, 3, H, W).
        """
        raise NotImplementedError

    def largest(self, images: Tensor) -> "Ball":
        """The ball of this norm that leaves every pixel of ``images`` (N, 3, H, W) free."""
        raise NotImplementedError

    @property
    def text(self) -> str:
        """The radius as it is written, such as ``8/255``."""
        raise NotImplementedError

    def words(self, what: str) -> str:
        """What the adversary changes of ``what`` (such as ``the image``), and how far."""
        raise NotImplementedError


class LInf(Ball):
    """The largest change of a pixel. Lengths are fractions of the pixel range."""

    name = "L-infinity"
    axis = "largest change of any pixel, epsilon, as a fraction of the pixel range"

    @staticmethod
    def length(name: str, value: float | str) -> float:
        return as_fraction(name, value)

    def start(self, images: Tensor, generator: torch.Generator | None) -> Tensor:
        delta = torch.empty_like(images).uniform_(-self.epsilon, self.epsilon, generator=generator)
        return self.project(delta, images)

    def step(
        self,
        delta: Tensor,
        gradient: Tensor,
        images: Tensor,
        *,
        step_size: float,
        compiled: bool = False,
    ) -> Tensor:
        work = compiled_once(_linf_step) if compiled else _linf_step
        return work(delta, gradient, images, step_size, _not_above(self.epsilon, delta.dtype))

    def project(self, delta: Tensor, images: Tensor) -> Tensor:
        return _linf_project(delta, images, _not_above(self.epsilon, delta.dtype))

    def largest(self, images: Tensor) -> Ball:
        return Ball(self.norm, 1.0)

    @property
    def text(self) -> str:
        return f"{round(self.epsilon * 255, 2):g}/255"

    def words(self, what: str) -> str:
        return f"every pixel of {what} by at most epsilon"


NORMS: dict[str, type[Ball]] = {"linf": LInf}


def as_fraction(name: str, value: float | str) -> float:
    """A fraction of the pixel range [0, 1], given as a number or as text such as ``"8/255"``.

    Raises:
        UserError: it is neither, or lies outside [0, 1]; the message shows the right form.
    """
    number = _parse(value)
    if number is None or not 0 <= number <= 1:
        hint = f" Did you mean {number:g}/255?" if number is not None and 1 < number <= 255 else ""
        raise UserError(
            f"{name} is a fraction of the pixel range, from 0 to 1, such as 8/255 or 0.03; "
            f"got {value}.{hint}"
        )
    return number


def _parse(value: float | str) -> float | None:
    try:
        numerator, _, denominator = str(value).partition("/")
        return float(numerator) / float(denominator or 1)
    except (ValueError, ZeroDivisionError):
        return None


def epsilon_text(epsilon: str | float) -> str:
    """How the radius of an L-infinity ball is written: :attr:`Ball.text`."""
    return Ball("linf", epsilon).text


@lru_cache
def _not_above(value: float, dtype: torch.dtype) -> float:
    """The largest number of the type that is not above ``value``."""
    rounded = torch.tensor(value, dtype=dtype)
    if rounded.item() > value:
        rounded = torch.nextafter(rounded, torch.zeros_like(rounded))
    return rounded.item()


def _linf_step(
    delta: Tensor, gradient: Tensor, images: Tensor, step_size: float, epsilon: float
) -> Tensor:
    delta.add_(gradient.sign().nan_to_num_(nan=0.0), alpha=step_size)
    return _linf_project(delta, images, epsilon)


def _linf_project(delta: Tensor, images: Tensor, epsilon: float) -> Tensor:
    return _into_box(delta.clamp_(-epsilon, epsilon), images)


def _into_box(delta: Tensor, images: Tensor) -> Tensor:
    bound = images.neg()
    torch.maximum(delta, bound, out=delta)
    torch.minimum(delta, bound.add_(1), out=delta)
    return delta
