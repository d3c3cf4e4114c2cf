"""Every command that the documentation shows is accepted, on data and models of the package.

The commands run up to the work itself: their config is composed, completed and checked, and the
model and the data are loaded. Commands that cannot run here are listed with the reason.
"""

import re
import shlex
from pathlib import Path

import pytest

from solo_adv.catalogue.places import PACKAGED

ROOT = Path(__file__).parents[2]
MODEL = "cfamc_resnet10w16_digits_m3"

ELSEWHERE = {
    "make ": "the whole suite, or a long time",
    "sbatch": "SLURM",
    "scripts/": "SLURM or several devices; tests/reproduce",
    "bash scripts/": "SLURM or several devices; tests/reproduce",
    "python -m solo_adv.solo_learn": "a checkout of solo-learn; tests/host/test_scripts.py",
    "python main_pretrain.py --config-path": "a checkout of solo-learn; tests/host/test_scripts.py",
    "python -m benchmarks": "a long time; tests/benchmarks",
    "python -m torture": "a long time; tests/torture",
    "python -m pytest": "tests",
    "python -m solo_adv.zoo": "files of a run; tests/zoo",
    "python -m solo_adv.report": "reports; tests/report",
    "python -m solo_adv.reproduce": "a long time; tests/reproduce",
    "python -m solo_adv.paper": "tests/paper",
    "python -m solo_adv.preview": "tests/preview",
    "python -m solo_adv.commands.demo": "a long time; make demo",
    "python main_knn.py": "a run; tests/commands/test_cli.py",
    "python -m solo_adv.commands.knn": "a run; tests/commands/test_cli.py",
    "python main_umap.py": "a run; tests/commands/test_cli.py",
    "python -m solo_adv.commands.umap": "a run; tests/commands/test_cli.py",
    "python -m solo_adv.cost": "tests/cost",
    "python main_linear.py": "a run; tests/training",
    "python examples/": "tests/examples",
    "python -m examples": "tests/examples",
}
"""Beginnings of commands that are not run here: what they need, or which tests run them."""

MODULES = {
    "main_pretrain.py": "solo_adv.commands.pretrain",
    "main_robust.py": "solo_adv.commands.robust",
}


STARTS = re.compile(r"(python|torchrun|make|sbatch|srun|bash|scripts/\S+) ")


def commands():
    """The commands of all code blocks, each on one line and without comments."""
    found = {}
    for file in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("docs/*.md"))):
        blocks = re.split(r"^ *```.*\n", file.read_text(), flags=re.MULTILINE)[1::2]
        for block in blocks:
            for line in re.sub(r"\\\n\s*", "", block).splitlines():
                command = re.sub(r"\s+#.*$", "", line).strip()
                if STARTS.match(command) and " [" not in command:  # a synopsis is no command
                    found.setdefault(command, file.name)
    return [pytest.param(command, id=f"{file}: {command[:60]}") for command, file in found.items()]


class Reached(Exception):
    """Raised in place of the work of a command."""


def runnable(command):
    """The arguments of a command, with data and models that are there in place of others."""
    command = re.sub(r"^(srun )?(python|torchrun --nproc-per-node \d+) ", "", command)
    arguments = shlex.split(command)
    name = arguments.pop(0)
    if name == "-m":
        name = arguments.pop(0)
        name += ".__main__" if name == "solo_adv.benchmark" else ""
    elsewhere = ("data=", "data.dataset=", "data.train_path=", "data.val_path=", "data.format=")
    several = ("devices=", "strategy=")
    kept = [a for a in arguments if not a.startswith((*elsewhere, *several))]
    there = {
        r"^(checkpoint|teacher\.checkpoint)=.*": rf"\1={MODEL}",
        r"^corruptions=/.*": "corruptions=generated",
        r"^head_weights=.*": f"head_weights={PACKAGED / 'models' / MODEL / 'linear.safetensors'}",
    }
    for wrong, right in there.items():
        kept = [re.sub(wrong, right, argument) for argument in kept]
    return MODULES.get(name, name).removeprefix("solo_adv."), [*kept, "data=digits"]


@pytest.mark.parametrize("shown", commands())
def test_commands_of_the_documentation(shown, command, monkeypatch):
    reason = next((ELSEWHERE[start] for start in ELSEWHERE if shown.startswith(start)), None)
    if re.search(r"\.py (.* )?-m ", shown):
        reason = "several jobs; tests/support/test_sweeps.py"
    if reason:
        pytest.skip(reason)
    name, arguments = runnable(shown)

    def stop(*args, **kwargs):
        raise Reached

    monkeypatch.setattr("solo_adv.training.fitting.fit", stop)
    monkeypatch.setattr("solo_adv.evaluation.evaluating.evaluate_robustness", stop)
    try:
        status, _, err = command(name, *arguments)
    except Reached:
        return
    pytest.fail(f"{shown} ended with status {status}: {err}")
