"""How the time of a CF-AMC-SSL step grows: ``python -m benchmarks.scaling [--chunks]``.

It varies the number of crops of an image and the number of replays. With ``--chunks`` it varies
``crops.chunk`` and measures the time of a step and the bytes that a chunk's forward pass keeps.
"""

import argparse
from statistics import median
from typing import Any

import torch
from torch import Tensor

from benchmarks.record import device, store
from benchmarks.running import configured, rehearsed, seconds_in_turn, step_options
from solo_adv.support.cli import quiet_libraries

CASES = [
    *((views, 3) for views in (4, 8, 16, 32, 64)),
    *((16, replays) for replays in (1, 2, 5, 8)),
]
"""Views and replays."""
PARTS = (1, 2, 4, 8)


def scaling(args: argparse.Namespace, precision: str) -> list[dict[str, Any]]:
    """A row for each of ``CASES``."""
    seconds = []
    for views, replays in CASES:
        sized = argparse.Namespace(**{**vars(args), "views": views})
        cfg = configured("cfamc", sized, precision, [f"adversary.replays={replays}"])
        # One case after another, not in turn: with all of them in memory, the largest took a
        # quarter longer.
        seconds += seconds_in_turn([rehearsed(cfg)], args.repeats)
    passes = [taken / (v * m) for (v, m), taken in zip(CASES, map(median, seconds), strict=True)]
    usual = passes[CASES.index((16, 3))]
    return [
        {
            "views": views,
            "replays": replays,
            "seconds": taken,
            "ms_per_image": 1000 * median(taken) / args.batch,
            "per_pass_to_16_views_3_replays": one / usual,
        }
        for (views, replays), taken, one in zip(CASES, seconds, passes, strict=True)
    ]


def chunks(args: argparse.Namespace, precision: str) -> list[dict[str, Any]]:
    """A row for each of ``PARTS``."""
    crops = args.views * args.batch
    steps, kept = [], []
    for parts in PARTS:
        chunk = "null" if parts == 1 else str(crops // parts)
        cfg = configured("cfamc", args, precision, [f"crops.chunk={chunk}"])
        steps.append(rehearsed(cfg))
        kept.append(_bytes_kept(steps[-1].method, crops // parts))
    seconds = seconds_in_turn(steps, args.repeats)
    return [
        {
            "chunk": crops // parts,
            "seconds": taken,
            "to_whole": median(taken) / median(seconds[0]),
            "kept_mib": size / 2**20,
        }
        for parts, taken, size in zip(PARTS, seconds, kept, strict=True)
    ]


def _bytes_kept(module: Any, crops: int) -> int:
    kept = 0

    def note(tensor: Tensor) -> Tensor:
        nonlocal kept
        kept += tensor.nbytes
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        pixels = torch.rand(crops, 3, 32, 32, device=device())
        module.outputs_of(pixels[:0], pixels, len(pixels))
    return kept


def main() -> None:
    """Measure, print the table and store the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    step_options(parser)
    parser.add_argument("--precision", default="32-true")
    parser.add_argument("--chunks", action="store_true", help="time and memory by crops.chunk")
    args = parser.parse_args()
    quiet_libraries()
    kind = "chunks" if args.chunks else "scaling"
    rows = (chunks if args.chunks else scaling)(args, args.precision)
    for row in rows:
        shown = {key: value for key, value in row.items() if key != "seconds"}
        print("  ".join(f"{key} {value:.4g}" for key, value in shown.items()))
    settings = ("precision", "views", "batch", "compile", "contiguous", "overrides")
    result = {"benchmark": kind, **{key: getattr(args, key) for key in settings}, "rows": rows}
    print(store(args.name or f"{kind}_{device().type}", result, args.output))


if __name__ == "__main__":
    main()
