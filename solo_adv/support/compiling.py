"""torch.compile as this package uses it: whole graphs, fixed shapes."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, TypeVar, cast

import torch

F = TypeVar("F", bound=Callable[..., Any])


def compile_whole(function: F, mode: str | None = None) -> F:
    """``function`` as one graph for each shape it is called with; a graph break is an error.

    Args:
        mode: one of torch.compile's, such as ``reduce-overhead``; None for its default.
    """
    return cast(F, torch.compile(function, fullgraph=True, dynamic=False, mode=mode))


@lru_cache
def compiled_once(function: F) -> F:
    """:func:`compile_whole` of a function of the module level, the same for all who ask."""
    return compile_whole(function)
