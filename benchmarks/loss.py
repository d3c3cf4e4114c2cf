"""The EMP loss, forward and backward, against the reference's way: ``python -m benchmarks.loss``.

The naive way loops over the views and takes the determinant of a D x D matrix for each.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.record import median_seconds, store
from solo_adv.objectives import emp_loss

SHAPES = [(16, 100, 1024), (16, 256, 1024), (40, 100, 1024), (16, 100, 64)]


def naive_emp_loss(z: Tensor, invariance_weight: float = 200.0, tcr_eps: float = 0.2) -> Tensor:
    """The loss as the paper writes it, view by view."""
    mean = z.mean(0)
    total = z.new_zeros(())
    for view in z:
        batch, dim = view.shape
        covariance = torch.eye(dim, device=z.device) + dim / (batch * tcr_eps) * view.T @ view
        rate = torch.logdet(covariance) / 2
        similarity = F.cosine_similarity(view, mean, dim=1).mean()
        total = total - (invariance_weight * similarity + rate) / len(z)
    return total


def main() -> None:
    """Measure every shape in one run, print the table, store the result."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    rows = []
    print(f"EMP loss, forward and backward, {device}, medians of 7")
    for views, batch, dim in SHAPES:
        torch.manual_seed(0)
        z = F.normalize(torch.randn(views, batch, dim, device=device), dim=-1).requires_grad_()

        def ours(z: Tensor = z) -> None:
            torch.autograd.grad(emp_loss(z).total, z)

        def naive(z: Tensor = z) -> None:
            torch.autograd.grad(naive_emp_loss(z), z)

        difference = (emp_loss(z).total - naive_emp_loss(z)).abs().item()
        row = {
            "views": views,
            "batch": batch,
            "dim": dim,
            "ours_seconds": median_seconds(ours),
            "naive_seconds": median_seconds(naive),
            "difference": difference,
        }
        row["ratio"] = row["naive_seconds"] / row["ours_seconds"]
        rows.append(row)
        print(
            f"V={views} B={batch} D={dim}: naive {row['naive_seconds']:.4f} s, "
            f"ours {row['ours_seconds']:.4f} s, {row['ratio']:.1f} times faster, "
            f"loss differs by {difference:.1e}"
        )
    print(store(f"loss_{device}", {"benchmark": "loss", "rows": rows}))


if __name__ == "__main__":
    main()
