"""Help, mistakes and lists are answered at once, without imports that take long."""

import json
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from benchmarks.startup import ANSWERS

HEAVY = (
    *("lightning", "pytorch_lightning", "lightning_fabric", "torchmetrics", "timm", "torchvision"),
    *("torch._dynamo", "torch._inductor", "torch.onnx", "sympy", "sklearn", "scipy", "pandas"),
    *("pyarrow", "matplotlib", "pyautoattack", "onnx", "huggingface_hub", "nvidia.dali"),
    *("tensorboard", "wandb", "solo"),
)
NETWORK = ("requests", "pooch")
WITH_TORCH = {
    *("pretrain: wrong new key", "pretrain: wrong value", "pretrain: wrong type"),
    *("pretrain: wrong method", "pretrain: wrong optimiser", "pretrain: wrong backbone"),
    *("linear: wrong value", "robust: wrong value", "robust: wrong checkpoint"),
    *("benchmark: wrong checkpoint", "benchmark: wrong recipe"),
    *("knn: help", "knn: wrong key", "knn: wrong checkpoint", "umap: help", "umap: wrong key"),
    *("paper: help", "paper: wrong table", "report: wrong place"),
    *("reproduce: wrong value", "cost: wrong value", "preview: wrong value"),
}
"""Commands whose answers need torch. ``benchmarks.startup`` compares with the import of torch."""


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """A function: exit status and imported modules of the commands with or without torch."""

    @cache
    def asked(torch):
        directory = tmp_path_factory.mktemp("startup")
        commands = {name: ANSWERS[name] for name in ANSWERS if (name in WITH_TORCH) == torch}
        groups = {"light": {}, "torch": {}, ("torch" if torch else "light"): commands}
        result = directory / "loaded.json"
        subprocess.run(
            [sys.executable, "-W", "ignore", Path(__file__).with_name("loaded.py"), result],
            input=json.dumps(groups),
            text=True,
            cwd=directory,
            check=True,
        )
        assert [path.name for path in directory.iterdir()] == [result.name]
        return json.loads(result.read_text())

    return asked


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=pytest.mark.slow) if n in WITH_TORCH else n for n in ANSWERS],
)
def test_an_answer_imports_nothing_that_takes_long(answers, name):
    answer = answers(name in WITH_TORCH)[name]
    refused = [] if name in WITH_TORCH else ["torch"]
    assert set(answer["modules"]) & {*HEAVY, *NETWORK, *refused} == set()
    asked = name.partition(": ")[2]
    assert answer["status"] == (0 if asked.startswith(("help", "list")) else 2)


def test_every_command_is_asked_for_help():
    root = Path(__file__).parents[2]
    commands = {
        f"solo_adv.commands.{path.stem}" for path in root.glob("solo_adv/commands/[a-z]*.py")
    }
    commands |= {f"solo_adv.{path.parent.name}" for path in root.glob("solo_adv/*/__main__.py")}
    assert {command for command, *arguments in ANSWERS.values() if arguments == ["--help"]} == {
        *commands,
        "solo_adv.solo_learn",
    }
