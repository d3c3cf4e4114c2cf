"""Runs the jobs of a sweep such that one that fails does not end the others, and lists them."""

import json
import os
import shutil
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from solo_adv.support.errors import RunStopped
from solo_adv.support.files import write_whole
from solo_adv.support.progress import say

Figures = Mapping[str, Any]


def is_sweep() -> bool:
    """Whether the running job is one of a sweep (``-m``)."""
    return bool(HydraConfig.get().mode == RunMode.MULTIRUN)


@dataclass
class Sweep:
    """The jobs of a sweep in their order.

    Attributes:
        process: the process that started the sweep. A launcher may run jobs in others, to which it
            sends a copy of this object.
        notes: a folder in which such jobs leave how they ended. It exists once one has ended.
        jobs: for each job its overrides and its figures or, if it failed, the message.
    """

    process: int = field(default_factory=os.getpid)
    notes: Path = field(default_factory=lambda: Path.cwd() / f".sweep-{os.getpid()}")
    jobs: list[tuple[str, Figures | str]] = field(default_factory=list)

    def run(
        self,
        task: Callable[[DictConfig], Figures | None],
        cfg: DictConfig,
        explain: Callable[[BaseException], str | None],
    ) -> float | None:
        """Run a job and note how it ended.

        Args:
            task: the work, which returns figures by name. The last one is what a sweeper that
                searches, such as Optuna's, gets to see.
            cfg: the job's config.
            explain: makes the message for an error; None if it may be a bug.

        Raises:
            RunStopped: the job was asked to stop, so the sweep ends.
        """
        here = HydraConfig.get()
        name = " ".join(here.overrides.task) or "no settings"
        say(f"\nJob {here.job.num}: {name}")
        try:
            figures = task(cfg) or {}
        except RunStopped:
            raise
        except Exception as error:
            message = explain(error)
            if message is None:
                traceback.print_exc()
                message = f"{type(error).__name__}: {error}"
            say(f"error: {message}")
            self._note(here.job.num, name, message)
            return None
        self._note(here.job.num, name, figures)
        numbers = [value for value in figures.values() if isinstance(value, float)]
        return numbers[-1] if numbers else None

    def _note(self, number: int, name: str, outcome: Figures | str) -> None:
        if os.getpid() == self.process:
            self.jobs.append((name, outcome))
            return
        from solo_adv.support.processes import rank  # noqa: PLC0415  imports torch

        if rank() > 0:
            return
        self.notes.mkdir(exist_ok=True)
        write_whole(self.notes / f"{number:06}.json", json.dumps([name, outcome], default=str))

    def collect(self) -> None:
        """Take over what jobs in other processes noted, after all of them have ended."""
        for file in sorted(self.notes.glob("*.json")):
            name, outcome = json.loads(file.read_text(encoding="utf-8"))
            self.jobs.append((name, outcome))
        shutil.rmtree(self.notes, ignore_errors=True)

    @property
    def failures(self) -> int:
        """How many jobs failed."""
        return sum(isinstance(outcome, str) for _, outcome in self.jobs)

    def show(self) -> None:
        """Print a table of the jobs with their figures, and the messages of those that failed."""
        from rich.table import Table  # noqa: PLC0415

        from solo_adv.support.terminal import print_table  # noqa: PLC0415

        outcomes = [outcome for _, outcome in self.jobs if not isinstance(outcome, str)]
        names = list(dict.fromkeys(name for figures in outcomes for name in figures))
        table = Table("job", *names, title="The sweep", title_justify="left")
        for job, (_, outcome) in zip(self._names(), self.jobs, strict=True):
            if isinstance(outcome, str):
                table.add_row(job, *("failed" for _ in names[:1]))
            else:
                table.add_row(job, *(_shown(outcome.get(name, "")) for name in names))
        print_table(table)
        for job, outcome in self.jobs:
            if isinstance(outcome, str):
                say(f"failed: {job}: {outcome}")

    def _names(self) -> list[str]:
        """The overrides of each job without those that all jobs share."""
        given = [job.split() for job, _ in self.jobs]
        shared = set.intersection(*map(set, given)) if len(given) > 1 else set()
        return [" ".join(part for part in parts if part not in shared) for parts in given]


def _shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
