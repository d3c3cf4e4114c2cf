"""Training runs that are killed at random moments and started again until they are through."""

import hashlib
import multiprocessing
import os
import random
import signal
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from solo_adv.errors import TRY_AGAIN

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
KILLS_BEFORE_THE_END = 4
PATIENCE = 300  # seconds


@dataclass
class Count:
    """Of kills, and of those after which the run ended with the weights it should have.

    Attributes:
        sigkill, sigterm: how often each signal was sent to a running process.
        saved_on_sigterm: how many of them were answered by a checkpoint and exit status 75; the
            others came before the first batch or after the last.
        chains: runs that were killed and continued until they were through.
        identical: kills in runs that ended bit-identical to one that was never killed.
        failures: what went wrong.
    """

    sigkill: int = 0
    sigterm: int = 0
    saved_on_sigterm: int = 0
    chains: int = 0
    identical: int = 0
    failures: list[str] | None = None

    @property
    def kills(self) -> int:
        return self.sigkill + self.sigterm


class Job:
    """One method's run, in processes that have the libraries loaded already.

    Args:
        method: name of the method.
        directory: where the uninterrupted run is kept, and those that are killed.
    """

    def __init__(self, method: str, directory: Path) -> None:
        self.method = method
        self.directory = directory
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["solo_adv.main_pretrain"])
        self.expected, self.seconds = self._straight()

    def chain(self, random_: random.Random, most: int, first: int) -> Count:
        """One run, killed up to ``most`` times, then left to end.

        Args:
            random_: draws the moments.
            most: kills at most.
            first: which of the signals comes first.
        """
        count = Count(failures=[])
        assert count.failures is not None
        place = self.directory / f"chain-{time.time_ns()}"
        place.mkdir(parents=True)
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
        place = self.directory / "straight"
        place.mkdir(parents=True, exist_ok=True)
        for path in place.rglob("*.ckpt"):
            path.unlink()
        begin = time.monotonic()
        process = self._start(place)
        process.join(PATIENCE)
        if process.exitcode != 0:
            raise RuntimeError((place / "output").read_text())
        return fingerprint(place), time.monotonic() - begin

    def _start(self, place: Path) -> Any:
        arguments = ["--config-name", self.method, *JOB, *METHODS[self.method]]
        process = self._context.Process(target=_pretrain, args=(str(place), arguments))
        process.start()
        return process


def _pretrain(place: str, arguments: list[str]) -> None:
    from solo_adv.main_pretrain import main  # noqa: PLC0415

    os.chdir(place)
    output = os.open("output", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    torch.set_num_threads(1)
    sys.argv = ["main_pretrain.py", *arguments]
    main()


def fingerprint(directory: Path) -> str:
    """SHA-256 of weights, optimiser, adversary and random states at the end of the run.

    A run that was killed when all was done is found finished, and the next start is a new run,
    which must end alike.
    """
    found = {_of_checkpoint(path) for path in directory.rglob(f"*-ep={EPOCHS - 1}.ckpt")}
    return " and ".join(sorted(found))


def _of_checkpoint(path: Path) -> str:
    checkpoint = torch.load(path, weights_only=True)
    digest = hashlib.sha256()
    for part in ("state_dict", "optimizer_states", "lr_schedulers", "solo_adv"):
        value = checkpoint[part]
        _add(digest, {**value, "config": None} if part == "solo_adv" else value)
    return digest.hexdigest()


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
    """The sums of two counts, for the record."""
    return {key: one[key] + value if key in one else value for key, value in asdict(other).items()}
