"""Time of a training step against a naive one and the bare network: ``python -m benchmarks.step``.

Three versions of the same work take turns in one run, so that the machine's load affects all of
them: the *floor*, forward and backward passes of the network on ready crops, as many as the method
makes; *ours*, the whole step under Lightning, including drawing the crops; and the *naive* step
(``benchmarks/naive.py``) on ready crops. A ratio is the median of the ratios of the rounds.
"""

import argparse
import copy
from statistics import median
from typing import Any

import torch
from torch import Tensor

from benchmarks.naive import NaiveStep
from benchmarks.record import device, store
from benchmarks.running import Work, batch_of, build, configured, run, step_options
from solo_adv.cost.network import autocast
from solo_adv.support.cli import quiet_libraries

NAIVE_METHODS = ("emp_ssl", "robust_emp", "cfamc")


def measure(method: str, args: argparse.Namespace, precision: str) -> dict[str, Any]:
    """Measure one method: one row of the table."""
    module = build(configured(method, args, precision))
    batch = batch_of(args.batch)
    twin = copy.deepcopy(module).train()
    crops = module.crops(batch[1][0])
    others: dict[str, Work] = {
        "one pass": lambda: _pass(twin, crops, precision),
        "crops": lambda: twin.crops(batch[1][0]),
    }
    if method in NAIVE_METHODS and not args.no_naive:
        plain = copy.deepcopy(module).train().to(memory_format=torch.contiguous_format)
        ready = crops.contiguous()
        step = NaiveStep(
            lambda pixels: plain.projector(plain.backbone(pixels))[1],
            [*plain.backbone.parameters(), *plain.projector.parameters()],
            views=args.views,
            replays=module.adversary.replays,
            steps=module.adversary.crafting_passes,
        )
        others["naive"] = lambda: step(ready)
        if module.adversary.crafting_passes:
            targets = torch.zeros(args.batch, dtype=torch.long, device=crops.device)
            own, theirs = copy.deepcopy(module).train(), step.inner_step(ready)
            others["our attack"] = lambda: _attack(own, crops, targets, precision)
            others["naive attack step"] = theirs
    rounds = run(module, batch, args.repeats, others)
    passes = module.adversary.replays + module.adversary.crafting_passes
    ours = median(rounds.of("ours"))
    row = {
        "method": method,
        "precision": precision,
        "compile": args.compile,
        "graph": args.graph,
        "memory_format": "contiguous" if args.contiguous else "channels_last",
        "views": args.views,
        "batch": args.batch,
        "crop_passes": passes * args.views * args.batch,
        "seconds": rounds.seconds,
        "ours_to_floor": rounds.ratio("ours", "one pass") / passes,
        "crops_share": rounds.ratio("crops", "ours"),
        "crop_passes_per_second": passes * args.views * args.batch / ours,
    }
    if "naive" in others:
        row["naive_to_ours"] = rounds.ratio("naive", "ours")
    if "our attack" in others:
        share = rounds.ratio("our attack", "naive attack step")
        row["attack_step_to_naive"] = share / module.adversary.crafting_passes
    return row


def _pass(module: Any, crops: Tensor, precision: str) -> None:
    """One forward and backward pass of the trained network on ready crops."""
    module.zero_grad()
    with autocast(precision, device()):
        z = module.projector(module.backbone(crops))[1]
    z.float().square().mean().backward()


def _attack(module: Any, crops: Tensor, targets: Tensor, precision: str) -> None:
    with autocast(precision, device()):
        module.perturb(module.batch_of(crops, targets))


def main() -> None:
    """Measure the methods asked for, print the table and store the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    step_options(parser)
    parser.add_argument("--methods", nargs="+", default=["emp_ssl", "robust_emp", "cfamc"])
    parser.add_argument("--precisions", nargs="+", default=["32-true"])
    parser.add_argument("--no-naive", action="store_true", help="leave out the naive step")
    args = parser.parse_args()
    quiet_libraries()
    print(f"Training step, {device().type}, medians of {args.repeats}, V={args.views}")
    rows = []
    for precision in args.precisions:
        for method in args.methods:
            rows.append(measure(method, args, precision))
            print(_line(rows[-1]), flush=True)
    result = {"benchmark": "step", "overrides": args.overrides, "rows": rows}
    print(store(args.name or f"step_{device().type}", result, args.output))


def _line(row: dict[str, Any]) -> str:
    parts = [
        f"{row['method']} {row['precision']} B={row['batch']} compile={row['compile']}: "
        f"{row['crop_passes_per_second']:.0f} crop passes/s",
        f"{row['ours_to_floor']:.3f} x floor",
        f"crops {row['crops_share']:.1%} of it",
    ]
    if "naive_to_ours" in row:
        parts.append(f"naive {row['naive_to_ours']:.2f} x ours")
    if "attack_step_to_naive" in row:
        parts.append(f"a PGD step {row['attack_step_to_naive']:.2f} x naive")
    return ", ".join(parts)


if __name__ == "__main__":
    main()
