"""Which rows of scores are right: top-1 and top-5, the same for every classifier and voter."""

import torch
from torch import Tensor

from solo_adv.support.examples import check_features


def hits(scores: Tensor, labels: Tensor) -> Tensor:
    """Whether each label has the highest score of its row, and whether it is among the top five.

    With fewer than five classes, all of them count as the top five.

    Args:
        scores: one row for each image and one column for each class, (N, K).
        labels: the right class of each image, (N,).

    Returns:
        bool (N, 2) on the device of ``scores``: top-1, top-5.
    """
    among = scores.topk(min(5, scores.shape[1])).indices == labels[:, None]
    return torch.stack([among[:, 0], among.any(dim=1)], dim=1)


def accuracy(scores: Tensor, labels: Tensor) -> tuple[float, float]:
    """Top-1 and top-5 accuracy, as fractions, of :func:`hits`.

    Raises:
        UserError: there is not one score for each class, or not one label, for each row.
    """
    check_features(scores, labels)
    top1, top5 = hits(scores, labels).sum(dim=0).tolist()
    return top1 / len(labels), top5 / len(labels)
