"""The projector of the paper's code: a hidden layer, whose output is evaluated, and two more."""

import torch.nn.functional as F
from torch import Tensor, nn


class Projector(nn.Module):
    """A network from backbone features (N, features_dim) to hidden features and embeddings.

    The hidden features (N, hidden_dim) are the activations of the first layer after ReLU; the paper
    evaluates them. The objective sees the embeddings (N, output_dim).

    Args:
        features_dim: dimension of the backbone's features.
        hidden_dim: width of the hidden layers.
        output_dim: dimension of the embeddings.
        unit: whether embeddings are normalised to length 1.

    Source:
        The reference code's ``encoder``; the paper does not describe it.
    """

    def __init__(
        self, features_dim: int, hidden_dim: int, output_dim: int, *, unit: bool = True
    ) -> None:
        super().__init__()
        self.unit = unit
        self.hidden = nn.Sequential(
            nn.Linear(features_dim, hidden_dim), nn.BatchNorm1d(hidden_dim), nn.ReLU()
        )
        self.output = nn.Sequential(
            nn.Linear(hidden_dim, hidden_dim),
            nn.BatchNorm1d(hidden_dim),
            nn.ReLU(),
            nn.Linear(hidden_dim, output_dim),
        )

    def forward(self, feats: Tensor) -> tuple[Tensor, Tensor]:
        """Compute hidden features (N, hidden_dim) and embeddings (N, output_dim)."""
        hidden = self.hidden(feats)
        output = self.output(hidden)
        return hidden, F.normalize(output, dim=1) if self.unit else output
