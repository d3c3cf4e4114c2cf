"""Where a training step's time goes: ``python -m benchmarks.profile [--trace step.json]``

Steps run under Lightning with torch's profiler, and each part of a step is marked. Printed are the
time of each part, the calls that make the CPU wait for the device, and the operators that take
longest. The trace can be opened in https://ui.perfetto.dev.
"""

import argparse
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, Trainer
from torch.profiler import ProfilerActivity, profile, record_function

from benchmarks.record import device, store
from benchmarks.running import batch_of, build, train
from solo_adv.reproduce.plan import composed
from solo_adv.support.cli import quiet_libraries, user_errors
from solo_adv.training.config import parse_cfg

STEP, MARK = "step: ", "part: "
PARTS = (
    *("crops", "network forward", "network backward", "loss", "adversary", "optimiser"),
    *("logging", "Lightning", "other"),
)
SYNCHRONISING = (
    *("aten::_local_scalar_dense", "aten::item", "aten::nonzero", "aten::is_nonzero"),
    *("cudaStreamSynchronize", "cudaDeviceSynchronize", "cudaEventSynchronize"),
    *("aten::masked_select", "aten::_unique2"),
)
WARMUP = 2


def marked(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a function so that the profile shows its time under ``name``."""

    @wraps(function)
    def work(*args: Any, **kwargs: Any) -> Any:
        with record_function(MARK + name):
            return function(*args, **kwargs)

    return work


def mark(method: Any) -> None:
    """Mark the parts of a method's training step, in place.

    Time in a part inside another part counts for the inner one only, so ``adversary`` is its own
    arithmetic without the passes of the network.
    """
    method.crops = marked("crops", method.crops)
    for module, name in (
        (method.backbone, "network forward"),
        (method.projector, "network forward"),
        (method.classifier, "network forward"),
    ):
        module.forward = marked(name, module.forward)
    method._loss = marked("loss", method._loss)
    method._crafting = marked("loss", method._crafting)
    method.perturb = marked("adversary", method.perturb)
    method.adversary.update = marked("adversary", method.adversary.update)
    method.manual_backward = marked("network backward", method.manual_backward)
    for name in ("_log_step", "_watch_collapse", "_watch"):
        setattr(method, name, marked("logging", getattr(method, name)))
    method.training_step = marked("other", method.training_step)


@contextmanager
def marked_gradients() -> Iterator[None]:
    """Mark ``torch.autograd.grad``, which attacks call, as a backward pass of the network."""
    before = torch.autograd.grad
    torch.autograd.grad = marked("network backward", before)
    try:
        yield
    finally:
        torch.autograd.grad = before


class Steps(Callback):
    """Marks the optimiser, and each step from Lightning's first hook to its last."""

    def __init__(self, recorder: profile) -> None:
        self.recorder = recorder
        self._step: Any = None

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        for optimizer in trainer.optimizers:
            optimizer.step = marked("optimiser", optimizer.step)  # type: ignore[method-assign]
            optimizer.zero_grad = marked("optimiser", optimizer.zero_grad)  # type: ignore[method-assign]

    def on_train_batch_start(self, trainer: Trainer, pl_module: Any, batch: Any, idx: int) -> None:
        if idx == WARMUP:
            self.recorder.start()
        if idx >= WARMUP:
            self._step = record_function(f"{STEP}{idx}")
            self._step.__enter__()

    def on_train_batch_end(self, *_: Any) -> None:
        if self._step is not None:
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            self._step.__exit__(None, None, None)


def profiled(args: argparse.Namespace) -> tuple[profile, int]:
    """The profile of ``args.steps`` steps."""
    sizes = [f"optimizer.batch_size={args.batch}", f"crops.num_crops={args.views}"]
    rest = [f"precision={args.precision}", "knn_eval.enabled=false", "max_epochs=1"]
    cfg = parse_cfg(composed(args.method, [*sizes, *rest, *args.overrides]))
    cfg.data.num_classes = 10
    method, batch = build(cfg), batch_of(args.batch, cfg.crops.size)
    mark(method)
    activities = [ProfilerActivity.CPU]
    if device().type == "cuda":
        activities.append(ProfilerActivity.CUDA)
    recorder = profile(activities=activities)
    with marked_gradients():
        train(method, batch, WARMUP + args.steps, Steps(recorder))
    recorder.stop()
    return recorder, len(batch[0])


def by_part(events: Any) -> tuple[dict[str, float], list[float]]:
    """Seconds of each part, summed over the steps, and the seconds of each step.

    Only marks of the thread that runs the step count. The time of a part is that of its mark minus
    the marks inside it.
    """
    seconds = dict.fromkeys(PARTS, 0.0)
    marks = [e for e in events if e.name.startswith((STEP, MARK)) and e.device_type.name == "CPU"]
    marks.sort(key=lambda e: (e.time_range.start, -e.time_range.end))
    steps: list[float] = []
    stack: list[tuple[str, int, float]] = []  # part, end, its own seconds so far
    for event in marks:
        begin, end = event.time_range.start, event.time_range.end
        while stack and stack[-1][1] <= begin:
            part, _, own = stack.pop()
            seconds[part] += own
        length = (end - begin) / 1e6
        if event.name.startswith(STEP):
            part = "Lightning"
            steps.append(length)
        else:
            part = event.name.removeprefix(MARK)
        if stack:
            outer, outer_end, own = stack[-1]
            stack[-1] = (outer, outer_end, own - length)
        if stack or part == "Lightning":  # nothing outside the measured steps
            stack.append((part, end, length))
    for part, _, own in stack:
        seconds[part] += own
    return seconds, steps


def synchronising(events: Any) -> dict[str, int]:
    """Count the calls inside the steps that make the CPU wait for the device."""
    inside = [
        (e.time_range.start, e.time_range.end)
        for e in events
        if e.name == f"{MARK}other" and e.device_type.name == "CPU"
    ]
    found: dict[str, int] = defaultdict(int)
    for event in events:
        if event.name in SYNCHRONISING and any(
            start <= event.time_range.start <= end for start, end in inside
        ):
            found[event.name] += 1
    return dict(found)


def main() -> None:
    """Profile some steps, print the tables, and store the result and the trace."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--method", default="cfamc")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--views", type=int, default=16)
    parser.add_argument("--precision", default="32-true")
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--trace", type=Path, help="file for the Chrome trace; default: none")
    parser.add_argument("--output", type=Path, help="result file (JSON)")
    parser.add_argument("overrides", nargs="*", help="config overrides, key=value")
    args = parser.parse_args()
    quiet_libraries()
    with user_errors():
        recorder, _ = profiled(args)
    events = recorder.events()
    seconds, steps = by_part(events)
    total = sum(steps)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    print(f"{args.method}, {args.batch} x {args.views}, {args.precision}, {device}")
    for part in PARTS:
        each = seconds[part] / len(steps)
        print(f"  {part:18} {1000 * each:10.2f} ms {seconds[part] / total:7.1%}")
    print(f"  {'a step':18} {1000 * total / len(steps):10.2f} ms")
    if device == "cuda":
        print("  (time of the CPU: queued kernels count where the CPU waits for them)")
    waits = synchronising(events)
    print("Calls inside the steps that make the CPU wait (for a GPU):", waits or "none")
    key = "self_cpu_time_total" if device == "cpu" else "self_device_time_total"
    averages = recorder.key_averages()
    print(averages.table(sort_by=key, row_limit=12, max_name_column_width=40))
    if args.trace:
        args.trace.parent.mkdir(parents=True, exist_ok=True)
        recorder.export_chrome_trace(str(args.trace))
        print(f"Trace for https://ui.perfetto.dev: {args.trace}")
    operators = sorted(averages, key=lambda each: -getattr(each, key, 0.0))[:20]
    result = {
        "benchmark": "profile",
        "method": args.method,
        "batch": args.batch,
        "views": args.views,
        "precision": args.precision,
        "steps": len(steps),
        "seconds_by_part": {part: value / len(steps) for part, value in seconds.items()},
        "seconds_a_step": total / len(steps),
        "synchronising_calls": waits,
        "operators": [
            {"name": each.key, "calls": each.count, "microseconds": getattr(each, key, 0.0)}
            for each in operators
            if not each.key.startswith((STEP, MARK))
        ],
    }
    print(store(f"profile_{device}", result, args.output))


if __name__ == "__main__":
    main()
