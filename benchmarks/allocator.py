"""What keeping freed memory is worth on the CPU: ``python -m benchmarks.allocator``

It alternates processes that keep the memory that they free (``performance.keep_freed_memory``) with
processes that do not, and times CF-AMC-SSL steps of a ResNet-18 of width 16 in each.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from statistics import median

from benchmarks.record import store
from benchmarks.running import configured, rehearsed, step_options
from solo_adv.support.allocator import keep_freed_memory
from solo_adv.support.cli import quiet_libraries

NETWORK = (
    *("+backbone.kwargs.width=16", "method_kwargs.proj_hidden_dim=512"),
    "method_kwargs.proj_output_dim=128",
)


def timed(args: argparse.Namespace) -> dict[str, float]:
    """Seconds of a step in this process, the system's share of its time, and the memory's peak."""
    step = rehearsed(configured("cfamc", args, "32-true", NETWORK))
    step()
    seconds, before, begun = [], os.times(), time.perf_counter()
    for _ in range(args.repeats):
        step()
        seconds.append(time.perf_counter() - begun)
        begun = time.perf_counter()
    after = os.times()
    system, user = after.system - before.system, after.user - before.user
    return {
        "seconds": median(seconds),
        "system_share": system / (system + user),
        "gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
    }


def measured(*, keep: bool) -> dict[str, float]:
    """What a process of its own measures."""
    command = [sys.executable, "-m", "benchmarks.allocator", *sys.argv[1:], "--process"]
    command += [str(keep).lower()]
    found = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    row: dict[str, float] = json.loads(found.stdout)
    return row


def main() -> None:
    """Measure, print and store the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    step_options(parser)
    parser.add_argument("--rounds", type=int, default=3, help="processes of each kind")
    parser.add_argument("--process", choices=("true", "false"), help=argparse.SUPPRESS)
    parser.set_defaults(batch=100, repeats=3)
    args = parser.parse_args()
    quiet_libraries()
    if args.process:
        if args.process == "true":
            keep_freed_memory()
        print(json.dumps(timed(args)))
        return
    pairs = [(measured(keep=True), measured(keep=False)) for _ in range(args.rounds)]
    row = {
        "images": args.batch,
        "crops": args.views,
        "rounds": args.rounds,
        "kept_seconds": median(kept["seconds"] for kept, _ in pairs),
        "returned_seconds": median(returned["seconds"] for _, returned in pairs),
        "returned_to_kept": median(b["seconds"] / a["seconds"] for a, b in pairs),
        "system_share_kept": median(kept["system_share"] for kept, _ in pairs),
        "system_share_returned": median(returned["system_share"] for _, returned in pairs),
        "gib_kept": median(kept["gib"] for kept, _ in pairs),
        "gib_returned": median(returned["gib"] for _, returned in pairs),
    }
    print(
        f"a step takes {row['kept_seconds']:.2f} s if freed memory is kept and "
        f"{row['returned_to_kept']:.2f} times as long if it is returned; the system has "
        f"{row['system_share_kept']:.0%} and {row['system_share_returned']:.0%} of the time, "
        f"and the process at most {row['gib_kept']:.1f} and {row['gib_returned']:.1f} GiB"
    )
    print(store(args.name or "allocator_cpu", {"benchmark": "allocator", **row}, args.output))


if __name__ == "__main__":
    main()
