"""Time and memory of the losses, forward and backward: ``python -m benchmarks.loss``

Compares them with naive versions; the memory is the peak of all tensors created. The naive EMP loss
loops over the views and takes the determinant of a D x D matrix for each, like the reference code.
The naive contrastive losses loop over the anchors, like their definition.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.record import median_seconds, store
from solo_adv.cost.memory import LiveBytes
from solo_adv.objectives import emp_loss, nt_xent, sup_con

EMP_SHAPES = [(16, 100, 1024), (16, 256, 1024), (40, 100, 1024), (16, 100, 64)]
PAIR_SHAPES = [(2, 128, 128), (2, 512, 128)]
SMALL_SHAPES = [(3, 16, 64)]
TEMPERATURE = 0.07
CLASSES = 10


def naive_emp_loss(z: Tensor, invariance_weight: float = 200.0, tcr_eps: float = 0.2) -> Tensor:
    """The loss as the paper defines it, view by view."""
    mean = z.mean(0)
    total = z.new_zeros(())
    for view in z:
        batch, dim = view.shape
        covariance = torch.eye(dim, device=z.device) + dim / (batch * tcr_eps) * view.T @ view
        rate = torch.logdet(covariance) / 2
        similarity = F.cosine_similarity(view, mean, dim=1).mean()
        total = total - (invariance_weight * similarity + rate) / len(z)
    return total


def naive_sup_con(z: Tensor, labels: Tensor) -> Tensor:
    """The supervised contrastive loss as it is defined, anchor by anchor."""
    z, labels = F.normalize(z, dim=-1).flatten(0, 1), labels.repeat(len(z))
    total = z.new_zeros(())
    for number, anchor in enumerate(z):
        others = torch.arange(len(z), device=z.device) != number
        logits = (z[others] @ anchor) / TEMPERATURE
        positive = labels[others] == labels[number]
        likelihood = logits[positive] - torch.logsumexp(logits, 0)
        total = total - likelihood.mean() / len(z)
    return total


def compare(
    name: str,
    shape: tuple[int, int, int],
    ours: Callable[[Tensor], Tensor],
    naive: Callable[[Tensor], Tensor],
    repeats: int,
) -> dict[str, Any]:
    """Measure both versions on the same unit embeddings (V, B, D): one row of the table."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(0)
    z = F.normalize(torch.randn(shape, device=device), dim=-1).requires_grad_()

    def work_of(loss: Callable[[Tensor], Tensor]) -> Callable[[], object]:
        return lambda: torch.autograd.grad(loss(z), z)

    row: dict[str, Any] = dict(zip(("views", "batch", "dim"), shape, strict=True))
    for way, loss in (("ours", ours), ("naive", naive)):
        row[f"{way}_seconds"] = median_seconds(work_of(loss), repeats=repeats)
        with LiveBytes() as live:
            work_of(loss)()
        row[f"{way}_peak_bytes"] = live.peak
    row |= {
        "loss": name,
        "difference": (ours(z) - naive(z)).abs().item(),
        "ratio": row["naive_seconds"] / row["ours_seconds"],
        "memory_ratio": row["naive_peak_bytes"] / row["ours_peak_bytes"],
    }
    naive_mib, ours_mib = (row[f"{way}_peak_bytes"] / 2**20 for way in ("naive", "ours"))
    print(
        f"{name} V={shape[0]} B={shape[1]} D={shape[2]}: naive {row['naive_seconds']:.4f} s, ours "
        f"{row['ours_seconds']:.4f} s, {row['ratio']:.1f} times faster; "
        f"naive {naive_mib:.1f} MiB, ours {ours_mib:.1f} MiB; "
        f"loss differs by {row['difference']:.1e}",
        flush=True,
    )
    return row


def main() -> None:
    """Measure every shape in one run, print the table and store the result."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--small", action="store_true", help="one small shape, to try it out")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--output", type=Path, help="result file (JSON)")
    args = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    print(f"Losses, forward and backward, {device}, medians of {args.repeats}")
    rows = []
    for shape in SMALL_SHAPES if args.small else EMP_SHAPES:
        rows.append(
            compare("emp", shape, lambda z: emp_loss(z).total, naive_emp_loss, args.repeats)
        )
    for shape in SMALL_SHAPES if args.small else PAIR_SHAPES:
        own = torch.arange(shape[1], device=device)
        classes = own % CLASSES
        for name, ours, labels in (
            ("nt_xent", lambda z: nt_xent(z, TEMPERATURE).total, own),
            ("sup_con", lambda z, labels=classes: sup_con(z, labels, TEMPERATURE).total, classes),
        ):
            rows.append(
                compare(
                    name,
                    shape,
                    ours,
                    lambda z, labels=labels: naive_sup_con(z, labels),
                    args.repeats,
                )
            )
    print(store(f"loss_{device}", {"benchmark": "loss", "rows": rows}, args.output))


if __name__ == "__main__":
    main()
