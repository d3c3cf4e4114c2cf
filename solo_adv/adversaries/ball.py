"""The threat model: an L-infinity ball of pixels, cut by the pixel box. The maths of every attack.

Images and perturbations are in pixels, [0, 1]; epsilon and step size are fractions such as 8/255.
"""

from collections.abc import Callable
from functools import lru_cache

import torch
from torch import Tensor

from solo_adv.support.compiling import compiled_once
from solo_adv.support.errors import UserError

LossOf = Callable[[Tensor], Tensor]
"""From perturbed images (N, 3, H, W) to the scalar loss that the attack ascends."""


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
def _largest_not_above(value: float, dtype: torch.dtype) -> float:
    rounded = torch.tensor(value, dtype=dtype)
    if rounded.item() > value:
        rounded = torch.nextafter(rounded, torch.zeros_like(rounded))
    return rounded.item()


def project(delta: Tensor, images: Tensor, epsilon: float) -> Tensor:
    """The nearest perturbation inside the epsilon ball and, added to ``images``, inside [0, 1].

    Exact in floating point: no element exceeds epsilon and no pixel leaves [0, 1], not by one
    rounding. In place on ``delta`` (N, 3, H, W).
    """
    return _project(delta, images, _largest_not_above(epsilon, delta.dtype))


def step(
    delta: Tensor,
    gradient: Tensor,
    images: Tensor,
    *,
    step_size: float,
    epsilon: float,
    compiled: bool = False,
) -> Tensor:
    """One step per pixel in the direction of the gradient's sign, and :func:`project`.

    In place on ``delta`` (N, 3, H, W). Gradients that overflowed to NaN (possible under float16
    loss scaling) count as zero.

    Args:
        compiled: as one fused kernel of torch.compile's; the result is the same to the bit.
    """
    work = compiled_once(_step) if compiled else _step
    return work(delta, gradient, images, step_size, _largest_not_above(epsilon, delta.dtype))


def _step(
    delta: Tensor, gradient: Tensor, images: Tensor, step_size: float, epsilon: float
) -> Tensor:
    delta.add_(gradient.sign().nan_to_num_(nan=0.0), alpha=step_size)
    return _project(delta, images, epsilon)


def _project(delta: Tensor, images: Tensor, epsilon: float) -> Tensor:
    delta.clamp_(-epsilon, epsilon)
    bound = images.neg()
    torch.maximum(delta, bound, out=delta)
    torch.minimum(delta, bound.add_(1), out=delta)
    return delta


def uniform_start(images: Tensor, epsilon: float, generator: torch.Generator | None) -> Tensor:
    """A random perturbation, uniform in the epsilon ball and projected into the pixel box."""
    delta = torch.empty_like(images).uniform_(-epsilon, epsilon, generator=generator)
    return project(delta, images, epsilon)


def epsilon_text(epsilon: str | float) -> str:
    """``0.03137...`` as ``8/255``, any other fraction in the same unit (``7.65/255``)."""
    return f"{round(as_fraction('epsilon', epsilon) * 255, 2):g}/255"
