"""A job as commands: the words that are run, and the same words printed for a shell."""

import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from solo_adv.reproduce.plan import Job
from solo_adv.reproduce.rows import Evaluation

PRETRAIN = "solo_adv.commands.pretrain"
ROBUST = "solo_adv.commands.robust"
CHECKPOINT = "$CHECKPOINT"
"""In printed commands: the shell variable for a path that pretraining has still to give."""


def pretraining(job: Job) -> list[str]:
    """The command that trains; on several devices Lightning starts the other processes."""
    return [python(), "-m", PRETRAIN, "--config-name", job.row.config, *job.pretraining]


def judging(job: Job, evaluation: Evaluation, checkpoint: Path | str) -> list[str]:
    """The command that judges a checkpoint; on several devices torchrun starts the processes."""
    quoted = str(checkpoint).replace("'", r"\'")  # as Hydra reads it
    start, processes = [python(), "-m"], job.processes
    if processes > 1:
        start += ["torch.distributed.run", "--standalone", "--nproc-per-node", str(processes), "-m"]
    return [*start, ROBUST, f"checkpoint='{quoted}'", *job.judging(evaluation)]


def looking_up(job: Job) -> list[str]:
    """The command that prints the last checkpoint of the job's finished run."""
    words = [python(), "-m", "solo_adv.reproduce", "--row", job.row.name, "--dataset", job.dataset]
    words += ["--scale", job.scale, "--directory", str(job.directory)]
    words += ["--preset", job.preset] if job.preset else []
    return [*words, "--checkpoint", *job.data, *job.extra]


def printed(job: Job, checkpoint: Path | None) -> list[str]:
    """The job's commands for a shell.

    Args:
        checkpoint: the last one of the job's run if that is finished, so that it is not repeated.
    """
    if checkpoint is not None:
        return [line(judging(job, evaluation, checkpoint)) for evaluation in job.evaluations]
    return [
        line(pretraining(job)),
        f"{CHECKPOINT.removeprefix('$')}=$({line(looking_up(job))})",
        *(line(judging(job, evaluation, CHECKPOINT)) for evaluation in job.evaluations),
    ]


def line(command: Sequence[str]) -> str:
    """A command as a shell reads it; the shell fills in :data:`CHECKPOINT`."""
    return " ".join(map(_quoted, command))


def _quoted(word: str) -> str:
    plain = word.replace(CHECKPOINT, "")
    if CHECKPOINT in word or ("'" in word and not any(sign in plain for sign in '"$`\\!')):
        return f'"{word}"'
    return shlex.quote(word)


def python() -> str:
    """This interpreter: ``python`` where a shell finds it by that name, else its path."""
    return "python" if shutil.which("python") == sys.executable else sys.executable
