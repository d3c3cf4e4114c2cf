"""The threat model, a ball of perturbations within the pixel box, and the maths of every attack.

Images have pixels in [0, 1], and perturbations are added to them. No other file knows a norm.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import isfinite, sqrt
from typing import Any, ClassVar

import torch
from torch import Tensor

from solo_adv.support.checks import choice
from solo_adv.support.compiling import compiled_once
from solo_adv.support.errors import UserError

AUTO = "auto"
LossOf = Callable[[Tensor], Tensor]
"""Takes perturbed images (N, 3, H, W) and returns the scalar loss that the attack ascends."""


@dataclass(frozen=True)
class Ball:
    """The perturbations that may be added to an image: those whose norm is at most ``epsilon``.

    In addition, perturbed pixels stay in [0, 1]. ``Ball(norm, epsilon)`` is an instance of the
    class that :data:`NORMS` has for the norm; a new norm needs a new class there.

    Args:
        norm: ``linf``, the largest change of a pixel, or ``l2``, the Euclidean length of the change
            of a whole image.
        epsilon: radius, such as ``"8/255"`` or 0.5; see :meth:`length`.

    Raises:
        UserError: the norm is unknown, or epsilon is out of range.
    """

    norm: str
    epsilon: float

    name: ClassVar[str]
    """How the norm is written in text, such as ``L-infinity``."""
    axis: ClassVar[str]
    """The label of a plot's axis that shows epsilon."""
    by_pixel: ClassVar[bool]
    """Whether the bound holds for each pixel separately. A bound on several images together is
    then the same as a bound on each of them."""
    autoattack: ClassVar[str]
    """pyautoattack's name of the norm."""
    reads_numbers: ClassVar[bool] = False
    """Whether a projection waits for numbers from the device, as where their values decide how
    often it repeats something."""
    usual: ClassVar[dict[str, Any]]
    """The usual lengths in this norm: an ``epsilon`` and a ``step_size`` for training, and the
    ``epsilons`` of an evaluation."""

    def __new__(cls, norm: str = "linf", epsilon: float | str = 0.0) -> "Ball":
        choice("norm", norm, NORMS)
        return super().__new__(NORMS[norm] if cls is Ball else cls)

    def __init__(self, norm: str, epsilon: float | str) -> None:
        object.__setattr__(self, "norm", norm)
        object.__setattr__(self, "epsilon", self.length("epsilon", epsilon))

    @classmethod
    def length(cls, name: str, value: float | str) -> float:
        """Read a radius or step size in this norm.

        Args:
            name: name of the setting: ``epsilon``, ``step_size``, or one of these after
                ``train_``. It is used in the error and tells which usual length ``"auto"`` means.
            value: a number, text such as ``"8/255"``, or ``"auto"`` for the usual length.

        Raises:
            UserError: the value is none of these or out of range; the message shows the right form.
        """
        return cls._checked(
            name, cls.usual[name.removeprefix("train_")] if value == AUTO else value
        )

    @staticmethod
    def _checked(name: str, value: float | str) -> float:
        raise NotImplementedError

    def scaled(self, factor: float) -> "Ball":
        """The ball of the same norm whose radius is ``factor`` times as large.

        A radius beyond the largest that the norm knows becomes the largest.
        """
        return Ball(self.norm, self._largest_radius(factor * self.epsilon))

    @staticmethod
    def _largest_radius(radius: float) -> float:
        return radius

    def start(self, images: Tensor, generator: torch.Generator | None) -> Tensor:
        """Draw perturbations of ``images`` (N, 3, H, W) uniformly in the ball and project them."""
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
        """Take the steepest step of length ``step_size`` up the gradient, then :meth:`project`.

        It changes ``delta`` in place. Gradients that overflowed to NaN, as float16 loss scaling can
        cause, count as zero.

        Args:
            delta: perturbations (N, 3, H, W).
            gradient: gradient of the loss at ``delta``, of the same shape.
            images: the unperturbed images, of the same shape.
            step_size: length of the step in this norm.
            compiled: whether torch.compile fuses the step into one kernel, if the norm supports
                it. The result is the same to the bit.

        Returns:
            ``delta``.
        """
        raise NotImplementedError

    def project(self, delta: Tensor, images: Tensor) -> Tensor:
        """Move ``delta`` to the nearest perturbation in the ball that keeps pixels in [0, 1].

        It is exact in floating point: not even by a rounding error does a perturbation exceed
        epsilon or a pixel leave [0, 1]. It changes ``delta`` (N, 3, H, W) in place and returns it.
        """
        raise NotImplementedError

    def largest(self, images: Tensor) -> "Ball":
        """The ball of this norm that lets every pixel of ``images`` (N, 3, H, W) take any value."""
        raise NotImplementedError

    @property
    def text(self) -> str:
        """The radius as text, such as ``8/255``. Balls of different norms have different texts."""
        raise NotImplementedError

    @staticmethod
    def words(what: str) -> str:
        """Describe how far the adversary changes ``what``, for instance ``the image``."""
        raise NotImplementedError

    def distance(self, delta: Tensor) -> Tensor:
        """The norm of each perturbation: (N, 3, H, W) to (N,)."""
        raise NotImplementedError

    def magnification(self, delta: Tensor) -> float:
        """The factor by which a picture of perturbations (N, 3, H, W) magnifies them."""
        strongest = self._strongest(delta)
        return 0.5 / strongest if strongest else 1.0

    def _strongest(self, delta: Tensor) -> float:
        """The change of a pixel that pictures show as black or white."""
        raise NotImplementedError


class LInf(Ball):
    """The ball of the L-infinity norm, which is the largest change of a pixel.

    Lengths are fractions of the pixel range, such as 8/255.
    """

    name = "L-infinity"
    axis = "largest change of any pixel, epsilon, as a fraction of the pixel range"
    by_pixel = True
    autoattack = "Linf"
    usual: ClassVar = {
        "epsilon": "8/255",
        "step_size": 0.01,
        "epsilons": ("4/255", "8/255", "16/255"),
    }

    @staticmethod
    def _checked(name: str, value: float | str) -> float:
        return as_fraction(name, value)

    @staticmethod
    def _largest_radius(radius: float) -> float:
        return min(radius, 1.0)  # from black to white

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

    @staticmethod
    def words(what: str) -> str:
        return f"every pixel of {what} by at most epsilon"

    def distance(self, delta: Tensor) -> Tensor:
        return delta.abs().flatten(1).amax(1)

    def _strongest(self, delta: Tensor) -> float:
        return self.epsilon


_SUMS_ROUND = 1e-12
"""Upper bound on the relative error of a Euclidean length that is summed in float64."""


class L2(Ball):
    """The ball of the L2 norm: the Euclidean length of an image's change, over pixels and channels.

    Lengths are in units of the pixel range, such as 0.5.
    """

    name = "L2"
    axis = "Euclidean length of the change of an image, epsilon"
    by_pixel = False
    autoattack = "L2"
    reads_numbers = True
    usual: ClassVar = {"epsilon": 0.5, "step_size": 0.1, "epsilons": (0.25, 0.5, 1.0)}

    @staticmethod
    def _checked(name: str, value: float | str) -> float:
        number = _parse(value)
        if number is None or number < 0 or not isfinite(number):
            raise UserError(
                f"{name} is the Euclidean length of the change of a whole image, a number of at "
                f"least 0, such as 0.5 or 128/255; got {value}."
            )
        return number

    def start(self, images: Tensor, generator: torch.Generator | None) -> Tensor:
        delta = _unit(torch.empty_like(images).normal_(generator=generator))
        share = torch.empty_like(_lengths(delta)).uniform_(generator=generator)
        delta *= (self.epsilon * share ** (1 / images[0].numel())).to(delta.dtype)
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
        delta.add_(_unit(gradient.nan_to_num(nan=0.0)), alpha=step_size)
        return self.project(delta, images)

    def project(self, delta: Tensor, images: Tensor) -> Tensor:
        room = torch.where(delta > 0, 1 - images, images)
        limit = self.epsilon * (1 - _SUMS_ROUND)
        delta *= _scale(delta.abs(), room, limit)
        length = _lengths(_into_box(delta, images))
        shorter = limit * (1 - max(_SUMS_ROUND, 4 * torch.finfo(delta.dtype).eps))
        delta *= torch.where(length > limit, shorter / length, 1).to(delta)
        return delta

    def largest(self, images: Tensor) -> Ball:
        return Ball(self.norm, sqrt(images[0].numel()) * (1 + 1e-6))  # from black to white

    @property
    def text(self) -> str:
        return f"{self.epsilon:g} (L2)"

    @staticmethod
    def words(what: str) -> str:
        return f"{what} by a vector of Euclidean length at most epsilon"

    def distance(self, delta: Tensor) -> Tensor:
        return _lengths(delta).flatten().to(delta)

    def _strongest(self, delta: Tensor) -> float:
        return delta.abs().max().item()


NORMS: dict[str, type[Ball]] = {"linf": LInf, "l2": L2}


def with_usual_lengths(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Replace ``auto`` in an adversary's settings by the usual lengths of its ``norm``.

    Settings without a norm, or with an unknown one, which the adversary refuses, stay as they are.
    """
    norm = NORMS.get(settings.get("norm", ""))
    usual = {} if norm is None else norm.usual
    return {
        name: usual[name] if value == AUTO and name in usual else value
        for name, value in settings.items()
    }


def as_fraction(name: str, value: float | str) -> float:
    """Read a fraction of the pixel range [0, 1] from a number or from text such as ``"8/255"``.

    Args:
        name: name of the setting, for the error.
        value: the number or text.

    Raises:
        UserError: the value is neither, or lies outside [0, 1]; the message shows the right form.
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


@lru_cache
def _not_above(value: float, dtype: torch.dtype) -> float:
    """The largest number of the type ``dtype`` that is not above ``value``."""
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
    delta.clamp_(min=bound)
    return delta.clamp_(max=bound.add_(1))


def _lengths(delta: Tensor) -> Tensor:
    """The Euclidean length of each perturbation, (N, ...) to (N, 1, ...), summed in float64."""
    dims = tuple(range(1, delta.ndim))
    return torch.linalg.vector_norm(delta, dim=dims, keepdim=True, dtype=torch.float64)


def _unit(vectors: Tensor) -> Tensor:
    """Scale each of the vectors (N, ...) to length 1. A vector of zeros stays zero."""
    dims = tuple(range(1, vectors.ndim))
    # The largest element is scaled to 1 first, so that squares neither overflow nor vanish.
    vectors = vectors / _not_zero(vectors.abs().amax(dims, keepdim=True))
    return vectors / _not_zero(torch.linalg.vector_norm(vectors, dim=dims, keepdim=True))


def _not_zero(lengths: Tensor) -> Tensor:
    return lengths.masked_fill(lengths == 0, 1)


def _scale(size: Tensor, room: Tensor, epsilon: float) -> Tensor:
    """The factor that shrinks perturbations to length epsilon once they are cut to the pixel box.

    The point of ball and box that is nearest to a perturbation is ``scale * size``, cut where it
    exceeds ``room``; by the Karush-Kuhn-Tucker conditions, ``scale = 1 / (1 + multiplier)``. The
    squared length of this point is a concave, piecewise linear function of the squared scale.
    Newton's method from 0 therefore rises to the solution without passing it, and reaches it.

    Args:
        size: absolute values of the perturbations (N, ...).
        room: how far each pixel may go in the perturbation's direction (N, ...).
        epsilon: radius of the ball.

    Returns:
        Factors (N, 1, ...); 1 for a perturbation that is short enough already.
    """
    too_long = _lengths(size.minimum(room)) > epsilon
    scale = too_long.logical_not().to(size)
    while True:
        free = size * scale < room
        cut, rest = room.masked_fill(free, 0), size.masked_fill(~free, 0)
        ahead = (epsilon**2 - _lengths(cut) ** 2).clamp(min=0).sqrt() / _lengths(rest)
        # If no pixel is free any more, rest is zero and the quotient infinite or NaN.
        ahead = torch.where(too_long, torch.fmax(ahead.to(size), scale).clamp(max=1), 1)
        if torch.equal(ahead, scale):
            return scale
        scale = ahead
