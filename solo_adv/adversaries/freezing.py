"""Freezes parameters for passes that need only the gradient of the input."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def parameters_frozen(model: nn.Module) -> Iterator[None]:
    """Set ``requires_grad`` of all parameters of ``model`` to false, and reset it afterwards.

    ``torch.autograd.grad`` of the input alone would compute no weight gradients either, but the
    forward pass would keep the activations that they need. And a compiled network always computes
    the gradients of all parameters that require one.
    """
    asking = [parameter for parameter in model.parameters() if parameter.requires_grad]
    try:
        for parameter in asking:
            parameter.requires_grad_(False)
        yield
    finally:
        for parameter in asking:
            parameter.requires_grad_(True)
