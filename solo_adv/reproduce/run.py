"""Runs jobs as child processes: pretrains and judges what is not finished, and merges reports."""

import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.markup import escape

from solo_adv.report import FILE, merge
from solo_adv.reproduce.commands import judging, line, pretraining
from solo_adv.reproduce.plan import Job
from solo_adv.reproduce.rows import Evaluation
from solo_adv.support.children import Children
from solo_adv.support.errors import TRY_AGAIN, RunStopped, UserError
from solo_adv.support.files import write_whole
from solo_adv.support.progress import duration
from solo_adv.training.config import parse_cfg
from solo_adv.training.runs import find_finished

if TYPE_CHECKING:
    from solo_adv.cost import Cost

LOCK = "lock"
FINISHED = "finished.txt"
"""File in the directory of a job's results: the commands of the evaluations that ended well."""


class FailedJobError(UserError):
    """A command of a job failed. The command itself has said why on stderr."""


def execute(jobs: Sequence[Job]) -> list[Path]:
    """Run the commands of all jobs and merge their reports into their directory.

    If a job fails, the others still run. A signal to this process is passed on to the command that
    is running, and no further command is started. The next call continues where this one was
    interrupted and repeats nothing that is finished.

    Returns:
        The merged files.

    Raises:
        UserError: before anything runs, if a setting cannot be used; or, after all jobs have run
            and their reports are merged, if a job failed.
        RunStopped: a signal came.
    """
    for job in jobs:
        _check(job)
    progress = _Progress(jobs)
    reports: list[Path] = []
    failed: dict[str, UserError] = {}
    with Children() as children:
        for job in jobs:
            with progress(job):
                try:
                    reports += run(job, children)
                except UserError as error:
                    failed[job.name] = error
                    progress.say(f"[red]{escape(f'{job.name} failed: {error}')}[/]")
            if children.stopped_by is not None:
                raise RunStopped(
                    f"Stopped by {children.stopped_by} at {job.name}; the same command continues."
                )
    merged = merge(reports, jobs[0].directory) if reports else []
    if failed:
        name, first = next(iter(failed.items()))
        raise UserError(
            f"{len(failed)} of {len(jobs)} runs failed ({', '.join(failed)}). {name}: {first}"
        )
    return merged


def run(job: Job, children: Children) -> list[Path]:
    """Pretrain a job if it is not finished, and run its missing evaluations.

    If another process is working on the same job, this one waits for it.

    Returns:
        The job's reports; if a signal came, those that exist.

    Raises:
        FailedJobError: a command failed.
    """

    def wait() -> None:
        print(f"{job.name}: waiting for another process to end it.", file=sys.stderr, flush=True)

    try:
        job.place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FailedJobError(
            f"{job.place} cannot be written ({error.strerror}); choose another --directory."
        ) from error
    with children.alone(job.place / LOCK, wait):
        return _run(job, children)


def _run(job: Job, children: Children) -> list[Path]:
    checkpoint = finished(job)
    if checkpoint is None and children.stopped_by is None:
        _call(pretraining(job), children)
        checkpoint = finished(job)
        if checkpoint is None and children.stopped_by is None:
            raise FailedJobError(f"no checkpoint of its last epoch is in {job.checkpoints}.")
    reports: list[Path] = []
    for evaluation in job.evaluations:
        if checkpoint is None or children.stopped_by is not None:
            break
        if not judged(job, evaluation, checkpoint):
            command = judging(job, evaluation, checkpoint)
            _call(command, children)
            if children.stopped_by is None:
                _note(job, command)
        reports += _reports(job, evaluation, checkpoint)
    return reports


def finished(job: Job) -> Path | None:
    """The last checkpoint of the job's run; None if the run is not finished."""
    return find_finished(_parsed(job)) if job.checkpoints.exists() else None


@cache
def _parsed(job: Job) -> DictConfig:
    """The job's complete config. Composing it fails if the data are missing."""
    return parse_cfg(job.config())


def remaining(job: Job) -> "Cost":
    """The part of a job's cost that is not done yet.

    Of a run that was interrupted in pretraining, or in an evaluation, the whole counts.
    """
    checkpoint = finished(job)
    if checkpoint is None:
        return job.cost()
    missing = tuple(each for each in job.evaluations if not judged(job, each, checkpoint))
    return replace(replace(job, evaluations=missing).cost(), pretraining=0)


def judged(job: Job, evaluation: Evaluation, checkpoint: Path) -> bool:
    """Whether an earlier run of this command ended well and the report is still there.

    Results of evaluations that other commands made do not count here, but the evaluation itself
    finds them and repeats nothing.
    """
    noted = line(judging(job, evaluation, checkpoint)) in _noted(job)
    return noted and bool(_reports(job, evaluation, checkpoint))


def _call(command: Sequence[str], children: Children) -> None:
    status = children.run(command)
    if status == TRY_AGAIN and children.stopped_by is None:
        children.stopped_by = "a signal to the command that was running"
    if status != 0 and children.stopped_by is None:
        how = f"exit status {status}" if status > 0 else signal.Signals(-status).name
        raise FailedJobError(f"ended with {how}: {line(command)}")


def _reports(job: Job, evaluation: Evaluation, checkpoint: Path) -> list[Path]:
    """The reports that an evaluation has written for the run of a checkpoint."""
    version = checkpoint.parent
    results = job.results(evaluation) / version.parent.name / version.name
    return sorted(results.glob(f"*/{FILE}"))


def _noted(job: Job) -> list[str]:
    file = job.place / FINISHED
    return file.read_text(encoding="utf-8").splitlines() if file.exists() else []


def _note(job: Job, command: Sequence[str]) -> None:
    lines = dict.fromkeys([*_noted(job), line(command)])
    write_whole(job.place / FINISHED, "".join(f"{entry}\n" for entry in lines))


def _check(job: Job) -> None:
    cfg = job.complete_config()
    if cfg.get("num_nodes", 1) != 1:
        raise UserError(
            f"num_nodes={cfg.num_nodes}: solo_adv.reproduce starts processes on one machine only. "
            "Give the commands that --dry-run prints to srun or torchrun."
        )
    if not OmegaConf.select(cfg, "checkpoint.enabled", default=True):
        raise UserError("checkpoint.enabled=false: without a checkpoint there is nothing to judge.")


class _Progress:
    """Says which job is running, how long it took, and how long the rest will take."""

    def __init__(self, jobs: Sequence[Job]) -> None:
        self._names = [job.name for job in jobs]
        left = {job.name: _seconds_left(job) for job in jobs}
        self._work = {name: seconds for name, seconds in left.items() if seconds > 0}
        self._console = Console(stderr=True)
        self._seconds = self._done = 0.0
        self._begun = 0.0

    def say(self, text: str, style: str | None = None) -> None:
        """Print a line with rich's markup."""
        self._console.print(text, style=style, highlight=False, soft_wrap=True)

    def __call__(self, job: Job) -> "_Progress":
        self._name = job.name
        return self

    def __enter__(self) -> None:
        number = self._names.index(self._name) + 1
        self.say(f"[bold]\\[{number}/{len(self._names)}] {escape(self._name)}[/]")
        self._begun = time.monotonic()

    def __exit__(self, *_: object) -> None:
        took = time.monotonic() - self._begun
        text = f"{self._name}: {duration(took)}"
        if self._name in self._work:  # jobs that were already finished tell nothing about the rest
            self._seconds += took
            self._done += self._work.pop(self._name)
            left = sum(self._work.values()) * self._seconds / self._done
            text += f", about {duration(left)} left" if self._work else ""
        self.say(escape(text), style="dim")


def _seconds_left(job: Job) -> float:
    """At one crop pass of the yardstick network a second."""
    try:
        return remaining(job).seconds(1)
    except UserError:  # running the job raises the same error
        return job.cost().seconds(1)
