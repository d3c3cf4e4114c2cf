"""torch.compile with the options of this package: whole graphs and fixed shapes."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, TypeVar, cast

import torch

F = TypeVar("F", bound=Callable[..., Any])


def compile_whole(function: F, mode: str | None = None) -> F:
    """Compile ``function`` into one graph for each input shape. A graph break is an error.

    Args:
        function: the function to compile.
        mode: a mode of torch.compile such as ``reduce-overhead``; None is its default.
    """
    return cast(F, torch.compile(function, fullgraph=True, dynamic=False, mode=mode))


@lru_cache
def compiled_once(function: F) -> F:
    """Compile a module-level function with :func:`compile_whole`, once for all callers."""
    return compile_whole(function)
