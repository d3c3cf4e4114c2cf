"""Copies of modules."""

import copy
from typing import TypeVar

from torch import nn

M = TypeVar("M", bound=nn.Module)


def copied(module: M) -> M:
    """A deep copy of a module, with parameters and buffers of its own.

    ``copy.deepcopy`` alone cannot copy fake tensors, of which the prediction of memory makes its
    networks.
    """
    copies: dict[int, object] = {
        id(parameter): nn.Parameter(parameter.detach().clone(), parameter.requires_grad)
        for parameter in module.parameters()
    }
    copies |= {id(buffer): buffer.detach().clone() for buffer in module.buffers()}
    return copy.deepcopy(module, copies)
