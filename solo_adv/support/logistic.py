"""Logistic regression, solved to its optimum."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def fit_logistic(
    features: Tensor,
    labels: Tensor,
    num_classes: int,
    *,
    penalty: float = 1e-4,
    iterations: int = 500,
    tolerance: float = 1e-5,
    start: nn.Linear | None = None,
) -> tuple[nn.Linear, float]:
    """Fit a linear classifier by L-BFGS until the gradient is almost zero.

    It minimises the mean cross-entropy plus ``penalty / 2`` times the squared weights of the
    standardised features. This has one optimum, so there is no learning rate, no number of epochs
    and no random start to choose. The standardisation becomes part of the weights that are
    returned.

    Args:
        features: (N, D). The computation is in their type, float32 or float64.
        labels: classes, long (N,), from 0 to ``num_classes - 1``.
        num_classes: number of classes K.
        penalty: weight of the squared weights.
        iterations: the most iterations to take.
        tolerance: the largest element of the gradient at which it stops.
        start: the layer to start from; None starts at zero. It changes only how many iterations
            are needed.

    Returns:
        The linear layer from features (D,) to logits (K,), and the largest element of the gradient
        at the end, which is at most ``tolerance`` if it converged.
    """
    mean, scale = features.mean(0), features.std(0, correction=0)
    scale = torch.where(
        scale > 1e-6 * scale.max(), scale, torch.inf
    )  # constant features say nothing
    x = (features - mean) / scale
    weight, bias = x.new_zeros(num_classes, x.shape[1]), x.new_zeros(num_classes)
    if start is not None:
        with torch.no_grad():
            weight = (start.weight * scale).where(scale.isfinite(), 0).to(x)
            bias = (start.bias + start.weight @ mean).to(x)
    weight.requires_grad_(True)
    bias.requires_grad_(True)
    optimizer = torch.optim.LBFGS(
        [weight, bias],
        max_iter=iterations,
        max_eval=2 * iterations,
        tolerance_grad=tolerance,
        tolerance_change=0.0,
        history_size=30,
        line_search_fn="strong_wolfe",
    )

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = F.cross_entropy(F.linear(x, weight, bias), labels)
        value = value + penalty / 2 * weight.square().sum()
        value.backward()
        return value

    with torch.enable_grad():
        optimizer.step(loss)
        loss()
    assert weight.grad is not None
    assert bias.grad is not None
    steepest = float(torch.cat([weight.grad.flatten(), bias.grad]).abs().max())
    head = nn.Linear(x.shape[1], num_classes, device=x.device, dtype=x.dtype)
    with torch.no_grad():
        head.weight.copy_(weight / scale)
        head.bias.copy_(bias - head.weight @ mean)
    return head.requires_grad_(False).eval(), steepest
