"""Invariant regularisation: similarities within a batch should not depend on the augmentation."""

import torch
from torch import Tensor

DIVERGENCES = ("paper", "code")


def standard_invariance(
    views: Tensor, plain: Tensor, temperature: float, divergence: str = "paper"
) -> Tensor:
    """SIR: two views of the images are similarly similar to the images without augmentation.

    For a view z^v, u^v is the distribution over the batch that a softmax makes of the cosines
    between each image's view and the image itself, divided by the temperature. The result is
    KL(u^1 || u^2).

    Args:
        views: unit embeddings of the clean views (V, B, D), V >= 2. With more than two, the result
            is the mean over all pairs.
        plain: unit embeddings of the images without augmentation (B, D).
        temperature: divides the cosines.
        divergence: ``paper``, or ``code``, which has u^1 where log u^1 belongs.

    Source:
        Xu et al. 2023, https://arxiv.org/abs/2305.00374 (SIR after Mitrovic et al. 2020); their
        ``AIR.py``, which swaps the two views. Both views are drawn alike.
    """
    return _over_pairs(_log_shares(views, plain, temperature), divergence)


def adversarial_invariance(
    attacked: Tensor,
    views: Tensor,
    plain: Tensor,
    temperature: float,
    divergence: str = "paper",
) -> Tensor:
    """AIR: the same for attacked views, whose similarity to their clean view counts as well.

    For an attacked view a^v of z^v and the image x, p^v is the product of the distributions that
    softmaxes over the batch make of cos(a^v, x) and of cos(a^v, z^v), divided by the temperature.
    It is not normalised. The result is the sum over the batch of p^1 (log p^1 - log p^2).

    Args:
        attacked: unit embeddings of the attacked views (V, B, D), V >= 2.
        views: unit embeddings of the same views without attack (V, B, D).
        plain: unit embeddings of the images without augmentation (B, D).
        temperature: divides the cosines.
        divergence: ``paper``, or ``code``, which has p^1 where log p^1 belongs.

    Source:
        As :func:`standard_invariance`.
    """
    from_plain = _log_shares(attacked, plain, temperature)
    from_clean = _log_shares(attacked, views, temperature)
    return _over_pairs(from_plain + from_clean, divergence)


def _log_shares(one: Tensor, other: Tensor, temperature: float) -> Tensor:
    """Log-softmax over the batch of the cosines of unit embeddings (V, B, D): (V, B)."""
    with torch.autocast(one.device.type, enabled=False):
        exact = torch.float64 if one.dtype == torch.float64 else torch.float32
        return ((one.to(exact) * other.to(exact)).sum(-1) / temperature).log_softmax(-1)


def _over_pairs(logs: Tensor, divergence: str) -> Tensor:
    """The mean divergence over all pairs of views, of log-probabilities (V, B)."""
    pairs = [(i, j) for i in range(len(logs)) for j in range(i + 1, len(logs))]
    total = logs.new_zeros(())
    for i, j in pairs:
        p, q = logs[i], logs[j]
        if divergence == "paper":
            total = total + (p.exp() * (p - q)).sum()
        else:
            total = total + (q.exp() * (q - p.exp())).sum()
    return total / len(pairs)
