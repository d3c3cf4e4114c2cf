"""A second batch norm for clean images, beside the one for attacked images.

Methods that train on clean and attacked copies of the same images (ACL, DynACL, AdvProp) use
separate statistics and affine weights for the two kinds. Downstream tasks use the attacked branch,
whose weights are saved under the names that the layer had before. The clean branch is saved beside
it, below ``clean.``.

Source:
    Xie et al. 2020 (AdvProp), https://arxiv.org/abs/1911.09665, section 4.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from solo_adv.support.errors import UserError
from solo_adv.support.modules import copied

CLEAN, ATTACKED = "clean", "attacked"


class BranchedBatchNorm(nn.Module):
    """Two batch norm layers, of which one is in use.

    Args:
        layer: the layer that becomes the attacked branch; a copy of it becomes the clean branch.

    Attributes:
        branch: the branch in use. It is ``attacked`` unless :func:`batch_norm_branch` changes it.
    """

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.clean = copied(layer)
        self.attacked = layer
        self.branch = ATTACKED
        self.register_state_dict_post_hook(_save_under_the_old_names)
        self.register_load_state_dict_pre_hook(_load_from_the_old_names)

    def forward(self, input: Tensor) -> Tensor:
        """Normalise an input (N, C, ...) by the branch in use."""
        layer = self.clean if self.branch == CLEAN else self.attacked
        output: Tensor = layer(input)
        return output


def with_two_batch_norms(network: nn.Module, name: str) -> nn.Module:
    """Add a second batch norm, which starts as a copy, beside every batch norm of a network.

    Args:
        network: the network, which is changed in place. It must not itself be a batch norm.
        name: name of the network, for the error.

    Raises:
        UserError: the network has no batch norm.
    """
    if not _branch_all(network):
        raise UserError(
            f"backbone.batch_norms=2 needs a network with batch normalisation, and {name} has "
            "none. Use backbone.batch_norms=1."
        )
    return network


def _branch_all(network: nn.Module) -> int:
    count = 0
    for name, child in network.named_children():
        if isinstance(child, _BatchNorm):
            setattr(network, name, BranchedBatchNorm(child))
            count += 1
        else:
            count += _branch_all(child)
    return count


@contextmanager
def batch_norm_branch(network: nn.Module, branch: str | None) -> Iterator[None]:
    """Context in which every :class:`BranchedBatchNorm` uses ``branch``; None changes nothing."""
    layers = [m for m in network.modules() if isinstance(m, BranchedBatchNorm)] if branch else []
    before = [layer.branch for layer in layers]
    try:
        for layer in layers:
            layer.branch = branch  # type: ignore[assignment]
        yield
    finally:
        for layer, was in zip(layers, before, strict=True):
            layer.branch = was


def of_one_branch(state: Mapping[str, Tensor], branch: str = ATTACKED) -> dict[str, Tensor]:
    """The weights of one branch, under the names of a network with one batch norm.

    Args:
        state: state dict of a network with :class:`BranchedBatchNorm` layers.
        branch: ``attacked`` or ``clean``.
    """
    kept = {name: tensor for name, tensor in state.items() if ".clean." not in name}
    if branch == CLEAN:
        for name, tensor in state.items():
            if ".clean." in name:
                kept[name.replace(".clean.", ".")] = tensor
    return kept


def _save_under_the_old_names(
    module: nn.Module, state: dict[str, Any], prefix: str, metadata: dict[str, Any]
) -> None:
    for name in [name for name in state if name.startswith(f"{prefix}{ATTACKED}.")]:
        state[prefix + name.removeprefix(f"{prefix}{ATTACKED}.")] = state.pop(name)


def _load_from_the_old_names(
    module: nn.Module, state: dict[str, Any], prefix: str, *_: object
) -> None:
    for name in [name for name in state if name.startswith(prefix)]:
        inner = name.removeprefix(prefix)
        if not inner.startswith((f"{CLEAN}.", f"{ATTACKED}.")):
            state[f"{prefix}{ATTACKED}.{inner}"] = state.pop(name)
