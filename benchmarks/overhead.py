"""Time that Lightning and logging add to a training step: ``python -m benchmarks.overhead``.

It alternates CF-AMC-SSL steps of a tiny network under Lightning with the same steps without
Lightning's loop, logging and optimiser wrapper. The difference is work of the CPU. It is the same
with a GPU, where it overlaps with the kernels.
"""

import argparse
from statistics import median

from benchmarks.record import device, store
from benchmarks.running import batch_of, build, configured, rehearsed, run, step_options
from solo_adv.support.cli import quiet_libraries

TINY = (
    *("+backbone.kwargs.width=4", "+backbone.kwargs.layers=[1,1,1,1]"),
    *("method_kwargs.proj_hidden_dim=16", "method_kwargs.proj_output_dim=8"),
)
GPU_STEP_MS = 1000 * 16 * 100 * 3 / 60_000
"""A step with 16 crops of 100 images and 3 replays at 60,000 crop passes a second."""


def main() -> None:
    """Measure, print and store the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    step_options(parser)
    parser.set_defaults(views=2, batch=2, repeats=300)
    args = parser.parse_args()
    quiet_libraries()
    cfg = configured("cfamc", args, "32-true", TINY)
    module, batch = build(cfg), batch_of(args.batch)
    plain = rehearsed(cfg)
    rounds = run(module, batch, args.repeats, {"plain": plain})
    added = [a - b for a, b in zip(rounds.of("ours"), rounds.of("plain"), strict=True)]
    row = {
        "replays": module.adversary.replays,
        "ours_ms": 1000 * median(rounds.of("ours")),
        "plain_ms": 1000 * median(rounds.of("plain")),
        "added_ms": 1000 * median(added),
        "share_of_a_gpu_step": 1000 * median(added) / GPU_STEP_MS,
    }
    print(
        f"{row['ours_ms']:.2f} ms under Lightning, {row['plain_ms']:.2f} ms plainly: "
        f"{row['added_ms']:.2f} ms added, {row['share_of_a_gpu_step']:.1%} of a GPU step of "
        f"{GPU_STEP_MS:.0f} ms"
    )
    result = {"benchmark": "overhead", **row}
    print(store(args.name or f"overhead_{device().type}", result, args.output))


if __name__ == "__main__":
    main()
