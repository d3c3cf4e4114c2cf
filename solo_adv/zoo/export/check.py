"""Checks that an exported network computes the same as the original."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

TOLERANCE = 1e-5
"""Largest difference of outputs, relative to the largest output."""


class NotEqualError(RuntimeError):
    """An export computes something else, which is a bug of this package, not a user's mistake."""


@torch.no_grad()
def require_equal(original: nn.Module, exported: Callable[[Tensor], Tensor], size: int) -> None:
    """Compare on random pixels (3, 3, size, size); extra outputs of ``exported`` must be zero.

    Raises:
        NotEqualError: The outputs differ by more than :data:`TOLERANCE`.
    """
    pixels = torch.rand(3, 3, size, size, generator=torch.Generator().manual_seed(0))
    expected, given = original(pixels), exported(pixels)
    padded = torch.zeros_like(given)
    padded[:, : expected.shape[1]] = expected
    difference = ((given - padded).abs().max() / expected.abs().max()).item()
    if not difference <= TOLERANCE:
        raise NotEqualError(f"Outputs of the export differ by {difference:.2g} of their range.")
