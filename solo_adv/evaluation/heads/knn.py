"""Weighted k-nearest-neighbour classification of features, which trains nothing."""

import torch
import torch.nn.functional as F
from torch import Tensor

from solo_adv.support.checks import number, whole
from solo_adv.support.errors import UserError, unknown
from solo_adv.support.examples import check_features
from solo_adv.support.hits import hits

DISTANCES = ("cosine", "euclidean")
MAX_CHUNK_ENTRIES = 20_000_000  # entries of the matrix of similarities; they take 80 MB


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
    """Top-1 and top-5 accuracy of a vote of the ``k`` nearest training features.

    A neighbour's vote has the weight ``exp(cosine / temperature)`` or, with
    ``distance="euclidean"``, ``1 / (distance + 1e-5)``, as in solo-learn. A class without any vote
    is not a prediction (solo-learn fills the top 5 with arbitrary classes).

    Args:
        train_features: features (N, D) that vote.
        train_labels: their labels (N,). Features with label -1 are unlabelled and left out.
        test_features: features (M, D) to classify.
        test_labels: their labels (M,). Features with label -1 are left out.
        k: number of neighbours. If there are fewer labelled training features, all vote.
        temperature: temperature of the weights, above 0; used with cosine only.
        distance: ``cosine`` or ``euclidean``.

    Returns:
        (top-1, top-5) as fractions.

    Raises:
        UserError: a setting is out of range, features or labels have another shape or type, or one
            of the sets has no labelled feature.

    Source:
        Wu et al. 2018, https://arxiv.org/abs/1805.01978, section 3.4.
    """
    whole("knn_k", k, 1)
    number("knn_temperature", temperature, above_zero=True)
    if distance not in DISTANCES:
        raise unknown("kNN distance", distance, DISTANCES)
    check_features(train_features, train_labels, "training")
    check_features(test_features, test_labels, "test")
    train_features, train_labels = _labelled(train_features, train_labels, "training")
    test_features, test_labels = _labelled(test_features, test_labels, "test")
    if distance == "cosine":
        train_features, test_features = F.normalize(train_features), F.normalize(test_features)
    k = min(k, len(train_features))
    num_classes = int(max(train_labels.max(), test_labels.max())) + 1
    chunk = max(1, MAX_CHUNK_ENTRIES // max(len(train_features), num_classes))

    correct = torch.zeros(2, dtype=torch.long)
    for features, labels in zip(test_features.split(chunk), test_labels.split(chunk), strict=True):
        if distance == "cosine":
            similarity, neighbours = (features @ train_features.T).topk(k)
            # Subtracting the nearest one's similarity does not change the vote, and prevents
            # overflow at low temperatures.
            weight = ((similarity - similarity[:, :1]) / temperature).exp()
        else:
            length, neighbours = torch.cdist(features, train_features).topk(k, largest=False)
            weight = 1 / (length + 1e-5)
        votes = weight.new_zeros(len(features), num_classes)
        votes.scatter_add_(1, train_labels[neighbours], weight)
        named = votes.gather(1, labels[:, None]) > 0  # a class without a vote is no answer
        correct += (hits(votes, labels) & named).sum(dim=0).cpu()
    top1, top5 = correct.tolist()
    return top1 / len(test_labels), top5 / len(test_labels)


def _labelled(features: Tensor, labels: Tensor, which: str) -> tuple[Tensor, Tensor]:
    known = labels >= 0
    if not known.any():
        raise UserError(f"kNN needs labels, and no {which} image has one; choose a labelled set.")
    labels = labels.to(features.device, torch.long)
    return (features, labels) if known.all() else (features[known], labels[known])
