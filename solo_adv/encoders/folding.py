"""Folds batch norms in eval mode into the convolutions before them, for passes that are repeated.

In eval mode a batch norm multiplies by constants and adds others, which a convolution can do itself
with other weights. The network computes the same up to rounding, and passes over every activation,
forward and backward, are saved.
"""

import copy
from collections import Counter
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

_ROUNDING = 1e-4


def folded(network: nn.Module, images: Tensor) -> nn.Module:
    """A copy of a network in which convolutions do the work of the batch norms after them.

    Only batch norms in eval mode whose input is a convolution that nothing else uses are folded,
    and only where ``torch.fx`` can follow the computation. All other modules and all other weights
    are shared with ``network``, which does not change.

    Args:
        network: network in eval mode.
        images: some inputs, (N, ...), on the network's device, on which the copy is held against
            the network.

    Returns:
        The copy; ``network`` itself if nothing can be folded, or if the copy differs by more than
        rounding.

    Source:
        Jacob et al. 2018, https://arxiv.org/abs/1712.05877, section 3.2 (equation 14).
    """
    copied = _folded(network)
    if copied is network:
        return network
    with torch.no_grad():
        expected, found = network(images), copied(images)
    scale = expected.abs().max().clamp(min=1)
    same = bool((found - expected).abs().max() <= _ROUNDING * scale)
    return copied if same else network


def _folded(network: nn.Module) -> nn.Module:
    if not any(type(module) is nn.BatchNorm2d for module in network.modules()):
        return network
    traced = _traced(network)
    if traced is not None:
        return _fused(traced) or network
    children = {name: child and _folded(child) for name, child in network._modules.items()}
    if all(child is network._modules[name] for name, child in children.items()):
        return network
    copied = copy.copy(network)  # a shallow copy, whose modules would be those of the network
    copied.__dict__["_modules"] = children
    return copied


def _traced(network: nn.Module) -> fx.GraphModule | None:
    """The network as a graph; None if ``torch.fx`` cannot follow it or would leave out a hook."""
    if any(module._forward_hooks or module._forward_pre_hooks for module in network.modules()):
        return None
    try:
        return fx.symbolic_trace(network)
    except Exception:  # whatever the network's own code raises for a symbol in place of a tensor
        return None


def _fused(traced: fx.GraphModule) -> fx.GraphModule | None:
    """The graph with its batch norms folded; None if it has none that can be."""
    modules: dict[str, Any] = dict(traced.named_modules())
    calls = [node for node in traced.graph.nodes if node.op == "call_module"]
    times = Counter(id(modules[node.target]) for node in calls)
    found = False
    for norm in calls:
        conv = norm.args[0] if norm.args else None
        if not (isinstance(conv, fx.Node) and conv.op == "call_module" and len(conv.users) == 1):
            continue
        pair = [modules[str(node.target)] for node in (conv, norm)]
        if [type(module) for module in pair] != [nn.Conv2d, nn.BatchNorm2d]:
            continue
        if any(times[id(module)] > 1 for module in pair):
            continue
        if pair[1].training or pair[1].running_mean is None:
            continue
        path, _, name = str(conv.target).rpartition(".")
        setattr(traced.get_submodule(path), name, fuse_conv_bn_eval(*pair))
        norm.replace_all_uses_with(conv)
        traced.graph.erase_node(norm)
        found = True
    if not found:
        return None
    traced.delete_all_unused_submodules()
    traced.recompile()
    return traced
