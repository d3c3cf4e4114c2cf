"""Executing jobs: pretrain what is not yet finished, evaluate what is not yet judged, merge."""

import time
from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig
from rich.console import Console
from rich.markup import escape

from solo_adv.evaluation.evaluating import evaluate
from solo_adv.report import merge
from solo_adv.reproduce.plan import Job, composed
from solo_adv.support.errors import UserError
from solo_adv.training.config import parse_cfg
from solo_adv.training.pretraining import pretrain
from solo_adv.training.runs import find_finished


def execute(jobs: Sequence[Job]) -> list[Path]:
    """Run all jobs, each in this process, and merge their reports into their directory.

    A job that fails does not keep the others from running. Called again, it takes up where it was
    interrupted and repeats nothing that is finished.

    Returns:
        The merged files.

    Raises:
        UserError: a setting cannot be, before anything runs; or a job failed, after all others
            have run and been merged.
    """
    for job in jobs:
        job.complete_config()
    console = Console(stderr=True)
    reports: list[Path] = []
    failed: dict[str, UserError] = {}
    for number, job in enumerate(jobs, 1):
        console.print(f"[bold]\\[{number}/{len(jobs)}] {escape(job.name)}[/]", highlight=False)
        begun = time.monotonic()
        try:
            reports += run(job)
        except UserError as error:
            failed[job.name] = error
            console.print(f"[red]{escape(f'{job.name} failed: {error}')}[/]", highlight=False)
        console.print(f"{time.monotonic() - begun:.0f} s", style="dim")
    merged = merge(reports, jobs[0].directory) if reports else []
    if failed:
        name, first = next(iter(failed.items()))
        raise UserError(
            f"{len(failed)} of {len(jobs)} runs failed ({', '.join(failed)}). {name}: {first}"
        )
    return merged


def run(job: Job) -> list[Path]:
    """Pretrain one job if it is not finished, and judge it; ``evaluate`` finds what is measured.

    Returns:
        Its reports.
    """
    checkpoint = find_finished(parse_cfg(job.config()))
    if checkpoint is None:
        cfg = job.config()
        _check_one_process(cfg)
        checkpoint = pretrain(cfg)
    assert checkpoint is not None
    reports = []
    for evaluation in job.evaluations:
        cfg = composed("robust", job.judging(evaluation))
        cfg.checkpoint = str(checkpoint)
        reports.append(evaluate(cfg)[1]["json"])
    return reports


def _check_one_process(cfg: DictConfig) -> None:
    if str(cfg.devices) not in ("1", "auto"):
        raise UserError(
            f"solo_adv.reproduce runs in one process, so devices={cfg.devices} does not fit: take "
            "the commands that --dry-run prints, or the scripts, and give devices to them."
        )
