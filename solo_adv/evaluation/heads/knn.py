"""Weighted k-nearest-neighbour classification of features: a probe that trains nothing."""

import torch
import torch.nn.functional as F
from torch import Tensor

from solo_adv.support.checks import number, whole
from solo_adv.support.errors import UserError, unknown

DISTANCES = ("cosine", "euclidean")
MAX_CHUNK_ENTRIES = 20_000_000  # of the matrix of similarities: 80 MB


@torch.no_grad()
def knn_accuracy(
    train_features: Tensor,
    train_labels: Tensor,
    test_features: Tensor,
    test_labels: Tensor,
    *,
    k: int = 20,
    temperature: float = 0.07,
    distance: str = "cosine",
) -> tuple[float, float]:
    """Top-1 and top-5 accuracy of the vote of the ``k`` nearest training features.

    A neighbour's vote weighs ``exp(cosine / temperature)``, or ``1 / (distance + 1e-5)`` under
    ``distance="euclidean"``: Wu et al. 2018 (https://arxiv.org/abs/1805.01978), section 3.4, as in
    solo-learn. A class without any vote counts as no prediction (solo-learn fills the top 5 with
    arbitrary ones).

    Args:
        train_features: (N, D). Labels (N,), where -1 means unlabelled; those are left out.
        test_features: (M, D), labels (M,) likewise.
        k: number of neighbours, capped at the number of labelled training features.

    Returns:
        (top-1, top-5) as fractions.

    Raises:
        UserError: a setting is out of range, or there is no labelled feature on either side.
    """
    whole("knn_k", k, 1)
    number("knn_temperature", temperature, above_zero=True)
    if distance not in DISTANCES:
        raise unknown("kNN distance", distance, DISTANCES)
    train_features, train_labels = _labelled(train_features, train_labels, "training")
    test_features, test_labels = _labelled(test_features, test_labels, "test")
    if distance == "cosine":
        train_features, test_features = F.normalize(train_features), F.normalize(test_features)
    k = min(k, len(train_features))
    num_classes = int(max(train_labels.max(), test_labels.max())) + 1
    chunk = max(1, MAX_CHUNK_ENTRIES // max(len(train_features), num_classes))

    hits1 = hits5 = 0
    for features, labels in zip(test_features.split(chunk), test_labels.split(chunk), strict=True):
        if distance == "cosine":
            similarity, neighbours = (features @ train_features.T).topk(k)
            # Relative to the nearest one: the same vote, and no overflow at low temperatures.
            weight = ((similarity - similarity[:, :1]) / temperature).exp()
        else:
            length, neighbours = torch.cdist(features, train_features).topk(k, largest=False)
            weight = 1 / (length + 1e-5)
        votes = weight.new_zeros(len(features), num_classes)
        votes.scatter_add_(1, train_labels[neighbours], weight)
        ranked = votes.topk(min(5, num_classes))
        hits = (ranked.indices == labels[:, None]) & (ranked.values > 0)
        hits1 += int(hits[:, 0].sum())
        hits5 += int(hits.sum())
    return hits1 / len(test_labels), hits5 / len(test_labels)


def _labelled(features: Tensor, labels: Tensor, which: str) -> tuple[Tensor, Tensor]:
    known = labels >= 0
    if not known.any():
        raise UserError(f"kNN needs labels, and no {which} image has one; choose a labelled set.")
    labels = labels.to(features.device)
    return (features, labels) if known.all() else (features[known], labels[known])
