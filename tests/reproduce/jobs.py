"""Makes jobs, and a stand-in for Python that only writes the files a command would write."""

import shutil
from dataclasses import replace
from pathlib import Path

from solo_adv.reproduce.plan import Job
from solo_adv.reproduce.rows import EVALUATIONS, ROWS
from solo_adv.training.config import parse_cfg
from solo_adv.training.runs import Run


def job(row, dataset="cifar10", evaluations=("standard",), **settings):
    """Make the job of a row."""
    judged_by = tuple(EVALUATIONS[name] for name in evaluations)
    return Job(row=ROWS[row], dataset=dataset, evaluations=judged_by, **settings)


def leave_run(cfg, *, epoch, version="offline-1"):
    """Write what a finished or interrupted run leaves, and return its checkpoint."""
    cfg = parse_cfg(cfg)
    cfg.data.num_classes = 10
    run = Run(cfg, version=version)
    run.create()
    run.checkpoint_path(epoch).touch()
    return run.checkpoint_path(epoch)


STAND_IN = """#!/bin/bash
printf '%s\\0' "$@" >> {log}; printf '\\n' >> {log}
for word in "$@"; do
  case "$word" in
    name=*) name=${{word#*=}} ;;
    checkpoint.dir=*) runs=${{word#*=}} ;;
    results_dir=*) results=${{word#*=}} ;;
    checkpoint=*) checkpoint=${{word#*=}}; checkpoint=${{checkpoint//\\'/}} ;;
  esac
done
step="${{name:-judging $results}}"
[ -e {before} ] && . {before}
if [ -n "$name" ]; then
  mkdir -p "$runs" && cp -r {prepared}/"$name"/. "$runs"
else
  version=$(dirname "$checkpoint")
  place="$results/$(basename "$(dirname "$version")")/$(basename "$version")/here"
  mkdir -p "$place" && echo {{}} > "$place/report.json"
fi
"""


class StandIn:
    """A script that commands run instead of Python.

    Attributes:
        before: a bash script that is run first; ``$step`` is a run's name or "judging PATH".
    """

    def __init__(self, folder: Path) -> None:
        self.path, self.log = folder / "python", folder / "log"
        self.before, self.prepared = folder / "before.sh", folder / "prepared"
        text = STAND_IN.format(log=self.log, before=self.before, prepared=self.prepared)
        self.path.write_text(text)
        self.path.chmod(0o755)

    def trains(self, job: Job, *, epochs: int | None = None) -> None:
        """Prepare the files that pretraining of a job is to leave."""
        place = replace(job, directory=self.prepared.parent / "made")
        cfg = place.config()
        leave_run(cfg, epoch=(cfg.max_epochs if epochs is None else epochs) - 1)
        self.prepared.mkdir(exist_ok=True)
        shutil.copytree(place.checkpoints, self.prepared / job.name)

    @property
    def calls(self) -> list[list[str]]:
        """The arguments of each call so far."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return [line.split("\0")[:-1] for line in lines]
