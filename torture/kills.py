"""Training runs that are killed at random moments and started again until they finish."""

import csv
import hashlib
import multiprocessing
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from solo_adv.support.errors import TRY_AGAIN

EPOCHS = 8
METHODS = {
    "cfamc": [],
    "robust_emp": ["adversary.random_start=true", "adversary.steps=2"],
    "simclr_freeadv": [],
}
JOB = [
    *("data=digits", "data.fraction=0.2", "optimizer.batch_size=32", "crops.num_crops=2"),
    *("crops.size=16", "backbone.kwargs.width=4", "+backbone.kwargs.layers=[1,1,1,1]"),
    *(
        "method_kwargs.proj_hidden_dim=16",
        "method_kwargs.proj_output_dim=8",
        f"max_epochs={EPOCHS}",
    ),
    *("accelerator=cpu", "checkpoint.minutes=0.003", "checkpoint.dir=runs"),
]
SIGNALS = (signal.SIGKILL, signal.SIGTERM)
KILLS_BEFORE_THE_END = 8
PATIENCE = 300  # seconds


@dataclass
class Count:
    """Counts of kills, and of those after which the run still ended as it should.

    Attributes:
        sigkill, sigterm: How often each signal was sent to a running process.
        while_writing: How many SIGKILLs left a half-written checkpoint.
        saved_on_sigterm: How many SIGTERMs the run answered with a checkpoint and exit status 75;
            the others came before the first batch or after the last.
        chains: Runs that were killed and continued until they finished.
        identical: Kills in runs that ended bit-identical to a run that was never killed, in
            weights, optimiser, schedule, adversary, random states and the last epoch's metrics.
        failures: Descriptions of what went wrong.
    """

    sigkill: int = 0
    while_writing: int = 0
    sigterm: int = 0
    saved_on_sigterm: int = 0
    chains: int = 0
    identical: int = 0
    failures: list[str] = field(default_factory=list)

    @property
    def kills(self) -> int:
        return self.sigkill + self.sigterm


class Job:
    """Starts runs of one method in processes that have already loaded the libraries.

    Args:
        method: Name of the method.
        directory: Directory for the uninterrupted run and the killed ones.
    """

    def __init__(self, method: str, directory: Path) -> None:
        self.method = method
        self.directory = directory
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["solo_adv.training.fitting"])
        idle = self._context.Process(target=_nothing)  # the first start loads the libraries
        idle.start()
        idle.join()
        self.expected, self.seconds = self._straight()

    def chain(self, random_: random.Random, most: int, first: int) -> Count:
        """Kill one run up to ``most`` times, then let it finish.

        Args:
            random_: Draws the moments of the kills.
            most: Largest number of kills.
            first: Index of the signal that is sent first.
        """
        count = Count()
        place = Path(tempfile.mkdtemp(prefix="chain-", dir=self.directory))
        for number in range(most):
            wait = random_.uniform(0, self.seconds)
            sent = SIGNALS[(first + number) % len(SIGNALS)]
            process = self._start(place)
            process.join(wait)
            killed = process.is_alive()
            if killed:
                os.kill(process.pid, sent)
            process.join(PATIENCE)
            if not killed:
                break
            if sent is signal.SIGKILL:
                count.sigkill += 1
                count.while_writing += any(place.rglob("*.ckpt.unfinished"))
            else:
                count.sigterm += 1
                count.saved_on_sigterm += process.exitcode == TRY_AGAIN
            if process.exitcode not in (-sent, TRY_AGAIN, 0):
                count.failures.append(f"exit status {process.exitcode} after {sent.name}")
        process = self._start(place)
        process.join(PATIENCE)
        found = fingerprint(place) if process.exitcode == 0 else None
        count.chains = 1
        if found == self.expected:
            count.identical = count.kills
        else:
            said = (place / "output").read_text()[-2000:]
            count.failures.append(
                f"{place.name}: status {process.exitcode}, weights differ\n{said}"
            )
        return count

    def _straight(self) -> tuple[str, float]:
        place = Path(tempfile.mkdtemp(prefix="straight-", dir=self.directory))
        begin = time.monotonic()
        process = self._start(place)
        process.join(PATIENCE)
        if process.exitcode != 0:
            raise RuntimeError((place / "output").read_text())
        return fingerprint(place), time.monotonic() - begin

    def _start(self, place: Path) -> Any:
        process = self._context.Process(target=pretrain, args=(place, self.method))
        process.start()
        return process


def _nothing() -> None:
    pass


def pretrain(place: Path, method: str, more: Sequence[str] = ()) -> None:
    """Run the job in this process; its files and its output go to ``place``."""
    from solo_adv.commands.pretrain import main  # noqa: PLC0415

    os.chdir(place)
    output = os.open("output", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    torch.set_num_threads(1)
    sys.argv = ["main_pretrain.py", "--config-name", method, *JOB, *METHODS[method], *more]
    main()


def fingerprint(directory: Path) -> str:
    """SHA-256 of the final checkpoint and metrics of the run below ``directory``.

    If a process is killed after its run has finished, the next start is a new run. Both must end
    with the same checkpoint; the metrics are those of the new run, because the killed process may
    not have written its own.
    """
    finished = sorted(
        directory.rglob(f"*-ep={EPOCHS - 1}.ckpt"), key=lambda path: path.stat().st_mtime_ns
    )
    found = {_of_checkpoint(path) for path in finished}
    if finished:
        metrics = _last_metrics(finished[-1].with_name("metrics.csv"))
        found.add(hashlib.sha256(repr(metrics).encode()).hexdigest())
    return " and ".join(sorted(found))


def _of_checkpoint(path: Path) -> str:
    checkpoint = torch.load(path, weights_only=True)
    digest = hashlib.sha256()
    for part in ("state_dict", "optimizer_states", "lr_schedulers", "solo_adv"):
        value = checkpoint[part]
        _add(digest, {**value, "config": None} if part == "solo_adv" else value)
    return digest.hexdigest()


def _last_metrics(path: Path) -> list[tuple[str, str]]:
    """The means and validation metrics of the last epoch."""
    with path.open() as file:
        rows = [row for row in csv.DictReader(file) if row["epoch"] == str(EPOCHS - 1)]
    last = {key: value for row in rows for key, value in row.items() if value}
    return sorted((k, v) for k, v in last.items() if k.startswith("val_") or k.endswith("_epoch"))


def _add(digest: Any, value: Any) -> None:
    if isinstance(value, torch.Tensor):
        digest.update(repr((value.dtype, tuple(value.shape))).encode())
        digest.update(value.contiguous().view(-1).view(torch.uint8).numpy().data)
    elif isinstance(value, dict):
        for key in value:
            digest.update(repr(key).encode())
            _add(digest, value[key])
    elif isinstance(value, list | tuple):
        for part in value:
            _add(digest, part)
    else:
        digest.update(repr(value).encode())


def added(one: dict[str, Any], other: Count) -> dict[str, Any]:
    """The sum of two counts, for the record."""
    return {key: one[key] + value if key in one else value for key, value in asdict(other).items()}
