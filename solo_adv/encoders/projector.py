"""The projector of the paper's code: one hidden layer that evaluation reads, then two more."""

import torch.nn.functional as F
from torch import Tensor, nn


class Projector(nn.Module):
    """From backbone features (N, features_dim) to hidden features and embeddings.

    The hidden layer's activations (N, hidden_dim), after ReLU, are the features that the paper
    evaluates; the embeddings (N, output_dim) are what the objective sees.

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
        """Hidden features; and embeddings, of unit length unless ``unit`` is False."""
        hidden = self.hidden(feats)
        output = self.output(hidden)
        return hidden, F.normalize(output, dim=1) if self.unit else output
