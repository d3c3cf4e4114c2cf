"""Turns tables and rows into jobs: pretraining runs with the evaluations that judge them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from solo_adv.reproduce.rows import (
    ALL,
    EVALUATIONS,
    PAPER_TABLES,
    ROWS,
    TABLES,
    Evaluation,
    Row,
)
from solo_adv.reproduce.scales import FULL, Full, checked
from solo_adv.support.checks import choice
from solo_adv.support.configs import composed
from solo_adv.support.errors import UserError

if TYPE_CHECKING:
    from solo_adv.cost import Cost

RESUME_FOR_EVER = "++auto_resume.max_hours=1000000"

_OF_EVALUATION = {"cpu": "cpu", "gpu": "cuda", "cuda": "cuda"}
"""Lightning's names of accelerators, and those of evaluations."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """One pretraining run on one data set, and its evaluations."""

    row: Row
    dataset: str
    """The paper's data set. At the scale ``tiny`` the job runs on digits instead."""
    evaluations: tuple[Evaluation, ...]
    scale: Full = FULL
    preset: str | None = None
    directory: Path = Path("reproduce")
    data: tuple[str, ...] = ()
    """Overrides that say where the data lie."""
    extra: tuple[str, ...] = ()
    """Further overrides of the pretraining run, for instance ``seed=6``."""

    @property
    def name(self) -> str:
        """Name of the run and of its directories, from row, data set, scale and preset."""
        dataset = self.scale.label(self.dataset)
        return "-".join(part for part in (self.row.name, dataset, self.preset) if part)

    @property
    def pretraining(self) -> list[str]:
        """The overrides on pretraining's command line, after the name of the config."""
        preset = [f"preset={self.preset}"] if self.preset else []
        own, further = self.row.overrides, [*preset, *self.extra]
        size = self.scale.pretraining(self.row, self.dataset, self.data, [*own, *further])
        place = [f"name={self.name}", f"checkpoint.dir={self.checkpoints}", RESUME_FOR_EVER]
        return [*own, *size, *further, *place]

    @property
    def checkpoints(self) -> Path:
        """The run's ``checkpoint.dir``."""
        return self.directory / "trained_models" / self.name

    @property
    def place(self) -> Path:
        """The directory of the job's results."""
        return self.directory / "results" / self.name

    def results(self, evaluation: Evaluation) -> Path:
        """The evaluation's ``results_dir``."""
        return self.place / evaluation.name

    @property
    def processes(self) -> int:
        """How many processes judge: as many as train if ``devices`` is a number, else one."""
        devices = self._told("devices", "1")
        return int(devices) if devices.isdecimal() else 1

    def _told(self, key: str, default: str) -> str:
        """What pretraining's command line says about a top-level key."""
        given = (override.lstrip("+").partition("=") for override in self.pretraining)
        return {name: value for name, _, value in given}.get(key, default).strip("\"'")

    def judging(self, evaluation: Evaluation) -> list[str]:
        """The overrides on the evaluation's command line, after ``checkpoint=PATH``.

        Evaluations use the accelerator that pretraining is told to use.
        """
        overrides = self.scale.judging(evaluation.overrides)
        accelerator = _OF_EVALUATION.get(self._told("accelerator", "auto"))
        overrides += [f"accelerator={accelerator}"] if accelerator else []
        return [*overrides, f"results_dir={self.results(evaluation)}"]

    def config(self) -> DictConfig:
        """The composed pretraining config.

        Raises:
            UserError, or Hydra's own errors: a setting does not exist.
        """
        return composed(self.row.config, self.pretraining)

    def complete_config(self) -> DictConfig:
        """:meth:`config` with the method's defaults and its preset, checked.

        Raises:
            UserError, or Hydra's own errors: a setting does not exist or is out of range.
        """
        return checked(self.config())

    def cost(self) -> "Cost":
        """Compute the cost from the configs alone; nothing is loaded or trained."""
        from solo_adv.cost import cost  # noqa: PLC0415  imports torch

        evaluations = [composed("robust", self.judging(e)) for e in self.evaluations]
        return cost(self.complete_config(), evaluations)


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a user asks for; names are checked by :func:`plan`."""

    tables: Sequence[str] = ()
    """Names of tables. If there are none, all tables are meant, also those that ``all`` omits."""
    rows: Sequence[str] = ()
    datasets: Sequence[str] = ()
    evaluations: Sequence[str] = ()
    """Names of evaluations; if there are none, all that the tables have."""
    scale: Full = FULL
    preset: str | None = None
    directory: Path = Path("reproduce")
    data_paths: dict[str, str] = field(default_factory=dict)
    """The path of each data set. The key ``""`` stands for all data sets without a key."""
    data_format: str | None = None
    extra: tuple[str, ...] = ()


def plan(request: Request) -> list[Job]:
    """Make the jobs of a request. A run that several tables have is one job.

    Raises:
        UserError: a table, row, data set or evaluation does not exist, or no row is left.
    """
    names = PAPER_TABLES if "all" in request.tables else tuple(request.tables or TABLES)
    for name in names:
        choice("table", name, (*TABLES, "all"))
    for dataset in request.datasets:
        choice("--dataset", dataset, ALL)
    for evaluation in request.evaluations:
        choice("--evaluation", evaluation, EVALUATIONS)
    known = {judged.row for name in names for judged in TABLES[name]}
    for row in request.rows:
        choice(f"--row of {', '.join(names)}", row, known)
    jobs: dict[str, Job] = {}
    for name in names:
        for judged in TABLES[name]:
            for dataset in judged.datasets:
                wanted = not request.datasets or dataset in request.datasets
                if not wanted or (request.rows and judged.row not in request.rows):
                    continue
                evaluations = [
                    EVALUATIONS[evaluation]
                    for evaluation in judged.evaluations
                    if not request.evaluations or evaluation in request.evaluations
                ]
                if not evaluations:
                    continue
                job = _job(request, ROWS[judged.row], dataset)
                before = jobs[job.name].evaluations if job.name in jobs else ()
                jobs[job.name] = replace(
                    job, evaluations=_needed([*before, *evaluations], request.scale)
                )
    if not jobs:
        raise UserError(
            f"No row of {', '.join(names)} is left with these --row, --dataset and --evaluation; "
            "without them all are run."
        )
    return list(jobs.values())


def _job(request: Request, row: Row, dataset: str) -> Job:
    return Job(
        row=row,
        dataset=dataset,
        evaluations=(),
        scale=request.scale,
        preset=request.preset,
        directory=request.directory,
        data=_where(request, dataset),
        extra=request.extra,
    )


def _where(request: Request, dataset: str) -> tuple[str, ...]:
    path = request.data_paths.get(dataset, request.data_paths.get(""))
    given = [f"data.train_path={path}"] if path else []
    if path and dataset == "imagenet100" and request.data_format != "parquet":
        given = [f"data.train_path={path}/train", f"data.val_path={path}/val"]
    elif path and dataset == "imagenet100":
        given.append("data.val_path=null")
    if request.data_format:
        given.append(f"data.format={request.data_format}")
    return tuple(given)


def _needed(evaluations: Iterable[Evaluation], scale: Full) -> tuple[Evaluation, ...]:
    """Remove duplicates and the evaluations that another one covers."""
    unique = list(dict.fromkeys(evaluations))
    if not scale.covers:
        return tuple(unique)
    covered = {name for evaluation in unique for name in evaluation.covers}
    return tuple(e for e in unique if e.name not in covered)
