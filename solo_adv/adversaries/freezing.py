"""Passes that ask for the gradient of the input only."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def parameters_frozen(model: nn.Module) -> Iterator[None]:
    """No parameter of ``model`` asks for a gradient inside; every flag is as it was afterwards.

    ``torch.autograd.grad`` of the input alone computes no weight gradients either, but keeps what
    they would need; and a compiled network always computes the gradients of all that ask.
    """
    asking = [parameter for parameter in model.parameters() if parameter.requires_grad]
    try:
        for parameter in asking:
            parameter.requires_grad_(False)
        yield
    finally:
        for parameter in asking:
            parameter.requires_grad_(True)
