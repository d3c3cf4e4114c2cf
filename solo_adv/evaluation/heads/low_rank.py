"""A low-rank branch beside an encoder, which takes the clean loss in AutoLoRa."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.func import functional_call


class LowRankBranch(nn.Module):
    """Low-rank changes of an encoder's convolutions and linear layers.

    The encoder with these changes is the clean branch. Its gradient reaches the low-rank factors
    alone, because the encoder's own weights are constants there. The first convolution, which takes
    the pixels, has no change.

    Args:
        encoder: the network. It is not part of this module and does not change.
        rank: the rank of each change, at least 1. For a convolution with kernels of k rows, the
            change of its weight, viewed as a matrix (out * k, in * columns), has rank ``rank * k``.

    Source:
        Xu et al. 2024, https://arxiv.org/abs/2310.01818, section 3.1. The first factors begin with
        normal numbers, the second ones at zero, and the product is divided by the rank, as in the
        code of RobustSSL.
    """

    def __init__(self, encoder: nn.Module, rank: int) -> None:
        super().__init__()
        self.rank = rank
        self.names: list[str] = []
        self.first, self.second = nn.ParameterList(), nn.ParameterList()
        for name, weight in _changed_weights(encoder).items():
            rows, columns = weight.shape[2:] if weight.ndim == 4 else (1, 1)
            outer, inner = (weight.shape[0] * rows, weight.shape[1] * columns), rank * rows
            self.names.append(name)
            self.first.append(torch.randn(inner, outer[1]).to(weight))
            self.second.append(weight.new_zeros(outer[0], inner))

    def weights(self, encoder: nn.Module) -> dict[str, Tensor]:
        """The weights of the clean branch: constants plus the low-rank changes."""
        weights = {name: weight.detach() for name, weight in encoder.named_parameters()}
        for name, first, second in zip(self.names, self.first, self.second, strict=True):
            change = (second @ first) / self.rank
            weights[name] = weights[name] + change.view_as(weights[name])
        return weights

    def forward(self, encoder: nn.Module, pixels: Tensor) -> Tensor:
        """The clean branch's features of pixels (N, 3, H, W) in [0, 1]: (N, D).

        In training mode the encoder's running statistics move, as in any pass.
        """
        features: Tensor = functional_call(encoder, self.weights(encoder), (pixels,))
        return features


def _changed_weights(encoder: nn.Module) -> Mapping[str, Tensor]:
    found: dict[str, Tensor] = {}
    seen_pixels = False
    for name, module in encoder.named_modules():
        if not isinstance(module, nn.Conv2d | nn.Linear):
            continue
        if isinstance(module, nn.Conv2d) and not seen_pixels:
            seen_pixels = True
            continue
        found[f"{name}.weight".lstrip(".")] = module.weight
    return found
