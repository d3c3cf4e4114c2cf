"""Turns a job into commands, either to run or to print for a shell."""

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
"""Printed commands have this shell variable in place of a path that is not known before training.
"""


def pretraining(job: Job) -> list[str]:
    """The command that trains. On several devices Lightning starts the other processes."""
    return [python(), "-m", PRETRAIN, "--config-name", job.row.config, *job.pretraining]


def judging(job: Job, evaluation: Evaluation, checkpoint: Path | str) -> list[str]:
    """The command that judges a checkpoint. On several devices torchrun starts the processes."""
    quoted = str(checkpoint).replace("'", r"\'")  # Hydra reads \' within quotes as '
    start, processes = [python(), "-m"], job.processes
    if processes > 1:
        start += ["torch.distributed.run", "--standalone", "--nproc-per-node", str(processes), "-m"]
    return [*start, ROBUST, f"checkpoint='{quoted}'", *job.judging(evaluation)]


def looking_up(job: Job) -> list[str]:
    """The command that prints the last checkpoint of the job's finished run."""
    words = [python(), "-m", "solo_adv.reproduce", "--row", job.row.name, "--dataset", job.dataset]
    words += [*job.scale.words, "--directory", str(job.directory)]
    words += ["--preset", job.preset] if job.preset else []
    return [*words, "--checkpoint", *job.data, *job.extra]


def printed(job: Job, checkpoint: Path | None) -> list[str]:
    """The job's commands as lines for a shell.

    Args:
        job: the job.
        checkpoint: the last checkpoint of the job's finished run, whose training is left out; None
            if the run is not finished.
    """
    if checkpoint is not None:
        return [line(judging(job, evaluation, checkpoint)) for evaluation in job.evaluations]
    return [
        line(pretraining(job)),
        f"{CHECKPOINT.removeprefix('$')}=$({line(looking_up(job))})",
        *(line(judging(job, evaluation, CHECKPOINT)) for evaluation in job.evaluations),
    ]


def line(command: Sequence[str]) -> str:
    """Quote a command for a shell, which is to replace :data:`CHECKPOINT` by its value."""
    return " ".join(map(_quoted, command))


def _quoted(word: str) -> str:
    plain = word.replace(CHECKPOINT, "")
    if CHECKPOINT in word or ("'" in word and not any(sign in plain for sign in '"$`\\!')):
        return f'"{word}"'
    return shlex.quote(word)


def python() -> str:
    """This interpreter: ``python`` if a shell finds it under that name, else its path."""
    return "python" if shutil.which("python") == sys.executable else sys.executable
