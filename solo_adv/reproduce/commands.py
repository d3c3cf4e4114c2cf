"""A job as shell commands that can be copied, and the launch scripts made of them."""

import shlex
from dataclasses import replace
from pathlib import Path

from solo_adv.paper import MODELS
from solo_adv.reproduce.plan import Job, Request, plan
from solo_adv.reproduce.rows import PAPER_TABLES, TABLES
from solo_adv.support.errors import UserError

_DATASET = "$DATASET"


def commands(job: Job) -> list[str]:
    """Pretraining, then each evaluation of its newest checkpoint."""
    pretraining = ["main_pretrain.py", "--config-name", job.row.config, *job.pretraining]
    lines = [_line("python", *pretraining)]
    newest = f"$(ls -t {_finished(job)} | head -n 1)"
    for evaluation in job.evaluations:
        overrides = _line(*job.judging(evaluation))
        lines.append(f"python main_robust.py \"checkpoint='{newest}'\" {overrides}")
    return lines


def write_scripts(folder: Path) -> list[Path]:
    """A launch script a row, lists of jobs, and the SLURM array script.

    Raises:
        UserError: the folder cannot be written.
    """
    content = scripts()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in content.items():
            (folder / name).write_text(text)
            (folder / name).chmod(0o755 if name.endswith(".sh") else 0o644)
    except OSError as error:
        raise UserError(
            f"--write-scripts: cannot write into '{folder}' ({error.strerror})."
        ) from error
    return [folder / name for name in content]


def scripts() -> dict[str, str]:
    """Name and content of every file of :func:`write_scripts`."""
    jobs = plan(Request(tables=list(TABLES)))
    tables = plan(Request(tables=list(PAPER_TABLES)))
    by_row: dict[str, list[Job]] = {}
    for job in jobs:
        by_row.setdefault(job.row.name, []).append(job)
    listed = {job.name for job in tables}
    return {
        **{f"{row}.sh": _script(found) for row, found in by_row.items()},
        "jobs_tables.txt": "".join(f"{j.row.name} {j.dataset}\n" for j in tables),
        "jobs_ablations.txt": "".join(
            f"{j.row.name} {j.dataset}\n" for j in jobs if j.name not in listed
        ),
        "slurm_array.sh": _slurm(len(tables), len(jobs) - len(tables)),
    }


def _script(jobs: list[Job]) -> str:
    """The script of a row; its jobs differ in the data set only, which is the first argument."""
    datasets = [job.dataset for job in jobs]
    row = jobs[0].row
    tables = [name for name, lines in TABLES.items() if any(j.row == row.name for j in lines)]
    title = MODELS[row.name].label if row.name in MODELS else f"{row.config}, {row.epochs} epochs"
    job = replace(jobs[0], dataset=_DATASET)
    checkpoint = f"*-ep={row.epochs - 1}.ckpt"
    lines = [
        "#!/usr/bin/env bash",
        f"# {title} ({', '.join(tables)}).",
        f"#   [TAG=name] bash scripts/{row.name}.sh [{'|'.join(datasets)}] [key=value ...]",
        "# Settings go to pretraining; give runs with other settings a TAG of their own.",
        "# Continues after an interruption. Made by python -m solo_adv.reproduce --write-scripts.",
        "set -euo pipefail",
        'cd "${SLURM_SUBMIT_DIR:-$(dirname "${BASH_SOURCE[0]}")/..}"',
        f"DATASET=${{1:-{datasets[0]}}}",
        f"NAME={job.name}${{TAG:+-$TAG}}",
        f"RUNS={_named(job, str(job.checkpoints))}/{row.config}",
        "PYTHON=${PYTHON:-python}",
        "",
        f'if compgen -G "$RUNS/*/{checkpoint}" > /dev/null; then',
        '  echo "$NAME is already trained."',
        "else",
        f"  $PYTHON main_pretrain.py --config-name {row.config} \\",
        *(f"    {_quoted(_named(job, override))} \\" for override in job.pretraining),
        '    "${@:2}"',
        "fi",
        f'CHECKPOINT=$(ls -t "$RUNS"/*/{checkpoint} | head -n 1)',
        "",
    ]
    for evaluation in dict.fromkeys(e for job in jobs for e in job.evaluations):
        overrides = " ".join(_quoted(_named(job, o)) for o in job.judging(evaluation))
        line = f"$PYTHON main_robust.py \"checkpoint='$CHECKPOINT'\" {overrides}"
        only = [j.dataset for j in jobs if evaluation in j.evaluations]
        if only != datasets:
            line = f'if [[ "$DATASET" =~ ^({"|".join(only)})$ ]]; then\n  {line}\nfi'
        lines.append(line)
    return "\n".join(lines) + "\n"


def _slurm(count: int, ablations: int) -> str:
    return f"""#!/usr/bin/env bash
# All rows of Tables 1 to 6, one GPU each:  sbatch scripts/slurm_array.sh
# The ablations:  sbatch --array=0-{ablations - 1} scripts/slurm_array.sh scripts/jobs_ablations.txt
# Made by python -m solo_adv.reproduce --write-scripts.
#SBATCH --job-name=solo-adv
#SBATCH --array=0-{count - 1}
#SBATCH --gpus=1
#SBATCH --cpus-per-task=8
#SBATCH --time=2-00:00:00
#SBATCH --requeue
#SBATCH --output=slurm-%A_%a.out
set -euo pipefail
cd "${{SLURM_SUBMIT_DIR:-$(dirname "${{BASH_SOURCE[0]}}")/..}}"
mapfile -t JOBS < "${{1:-scripts/jobs_tables.txt}}"
read -r ROW DATASET <<< "${{JOBS[$SLURM_ARRAY_TASK_ID]}}"
exec bash "scripts/$ROW.sh" "$DATASET" "${{@:2}}"
"""


def _finished(job: Job) -> str:
    """Shell pattern of the last checkpoint of the job's finished runs."""
    epochs = next(o for o in job.pretraining if o.startswith("max_epochs=")).partition("=")[2]
    runs = shlex.quote(str(job.checkpoints / job.row.config))
    return f"{runs}/*/*-ep={int(epochs) - 1}.ckpt"


def _line(*words: str) -> str:
    return " ".join(shlex.quote(word) for word in words)


def _named(job: Job, text: str) -> str:
    """With the variable of the script in the place of the run's name."""
    return text.replace(job.name, "$NAME")


def _quoted(word: str) -> str:
    """Quoted for the shell, variables of the script still to be filled in."""
    return f'"{word}"' if "$" in word else shlex.quote(word)
