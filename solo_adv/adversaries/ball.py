"""The threat model: a ball of perturbations, cut by the pixel box. The maths of every attack.

Images and perturbations are in pixels, [0, 1]. A norm is known here and nowhere else.
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
"""From perturbed images (N, 3, H, W) to the scalar loss that the attack ascends."""


@dataclass(frozen=True)
class Ball:
    """What may be added to an image: every perturbation of a norm of at most ``epsilon``.

    Perturbed pixels stay in [0, 1] besides. ``Ball(norm, epsilon)`` is an instance of the class
    that :data:`NORMS` has for the norm; a new norm is a new such class.

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
    """What epsilon measures, for the axis of a plot."""
    by_pixel: ClassVar[bool]
    """Whether every pixel is bounded by itself, so that a ball of several images together is a ball
    of each of them."""
    autoattack: ClassVar[str]
    """What pyautoattack calls the norm."""
    usual: ClassVar[dict[str, Any]]
    """Lengths that are usual in this norm: one ``epsilon`` and ``step_size``, and the ``epsilons``
    that an evaluation goes through."""

    def __new__(cls, norm: str = "linf", epsilon: float | str = 0.0) -> "Ball":
        choice("norm", norm, NORMS)
        return super().__new__(NORMS[norm] if cls is Ball else cls)

    def __init__(self, norm: str, epsilon: float | str) -> None:
        object.__setattr__(self, "norm", norm)
        object.__setattr__(self, "epsilon", self.length("epsilon", epsilon))

    @classmethod
    def length(cls, name: str, value: float | str) -> float:
        """A radius or step size in this norm, given as a number or as text such as ``"8/255"``.

        Args:
            name: of the setting (``epsilon``, ``step_size``, or one of these after ``train_``), for
                the error, and for the usual length that ``"auto"`` stands for.

        Raises:
            UserError: it is neither, or out of range; the message shows the right form.
        """
        return cls._checked(
            name, cls.usual[name.removeprefix("train_")] if value == AUTO else value
        )

    @staticmethod
    def _checked(name: str, value: float | str) -> float:
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
        """The radius as it is written, such as ``8/255``; no ball of another norm has the same."""
        raise NotImplementedError

    @staticmethod
    def words(what: str) -> str:
        """What the adversary changes of ``what`` (such as ``the image``), and how far."""
        raise NotImplementedError

    def distance(self, delta: Tensor) -> Tensor:
        """The norm of each perturbation: (N, 3, H, W) to (N,)."""
        raise NotImplementedError

    def magnification(self, delta: Tensor) -> float:
        """By how much a picture of perturbations (N, 3, H, W) has to magnify them to be seen."""
        strongest = self._strongest(delta)
        return 0.5 / strongest if strongest else 1.0

    def _strongest(self, delta: Tensor) -> float:
        """The change of a pixel that pictures show in full colour."""
        raise NotImplementedError


class LInf(Ball):
    """The largest change of a pixel. Lengths are fractions of the pixel range."""

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
"""Relative error that no sum of squares in float64 has, of however many pixels."""


class L2(Ball):
    """The Euclidean length of the change of a whole image, over all its pixels and channels."""

    name = "L2"
    axis = "Euclidean length of the change of an image, epsilon"
    by_pixel = False
    autoattack = "L2"
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
    """Settings of an adversary, with the usual lengths of its ``norm`` in the place of ``auto``.

    Without a norm, or with one that the adversary itself refuses, they are as they were.
    """
    norm = NORMS.get(settings.get("norm", ""))
    usual = {} if norm is None else norm.usual
    return {
        name: usual[name] if value == AUTO and name in usual else value
        for name, value in settings.items()
    }


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


def _lengths(delta: Tensor) -> Tensor:
    """Euclidean length of each perturbation: (N, ...) to (N, 1, ...), summed in float64."""
    dims = tuple(range(1, delta.ndim))
    return torch.linalg.vector_norm(delta, dim=dims, keepdim=True, dtype=torch.float64)


def _unit(vectors: Tensor) -> Tensor:
    """Each of the vectors (N, ...) with length 1, whatever its length was; zero stays zero."""
    dims = tuple(range(1, vectors.ndim))
    # First to a largest element of 1, so that squares neither overflow nor vanish.
    vectors = vectors / _not_zero(vectors.abs().amax(dims, keepdim=True))
    return vectors / _not_zero(torch.linalg.vector_norm(vectors, dim=dims, keepdim=True))


def _not_zero(lengths: Tensor) -> Tensor:
    return lengths.masked_fill(lengths == 0, 1)


def _scale(size: Tensor, room: Tensor, epsilon: float) -> Tensor:
    """How much to shrink perturbations so that, cut to the pixel box, they have length epsilon.

    The nearest point of ball and box to a perturbation is ``scale * size``, cut where it exceeds
    ``room``: by the Karush-Kuhn-Tucker conditions ``scale = 1 / (1 + multiplier)``. The squared
    length of that is concave and piecewise linear in the squared scale, so Newton's method from 0
    goes up to the solution without passing it, and arrives.

    Args:
        size: absolute values of the perturbations (N, ...).
        room: how far each pixel may go in the perturbation's direction (N, ...).

    Returns:
        (N, 1, ...); 1 where the perturbation is short enough already.
    """
    too_long = _lengths(size.minimum(room)) > epsilon
    scale = too_long.logical_not().to(size)
    while True:
        free = size * scale < room
        cut, rest = room.masked_fill(free, 0), size.masked_fill(~free, 0)
        ahead = (epsilon**2 - _lengths(cut) ** 2).clamp(min=0).sqrt() / _lengths(rest)
        # Where nothing is free any more, rest is zero.
        ahead = torch.where(too_long, torch.fmax(ahead.to(size), scale).clamp(max=1), 1)
        if torch.equal(ahead, scale):
            return scale
        scale = ahead
