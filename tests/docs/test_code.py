"""The Python code that the documentation shows runs."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SHOWN = [
    pytest.param(
        block,
        id=f"{file}-{number}",
        marks=[pytest.mark.slow] if "pretrain(" in block else [],
    )
    for file in ("README.md", "docs/guide.md", "docs/zoo.md")
    for number, block in enumerate(
        re.findall(r"^```python\n(.*?)^```", (ROOT / file).read_text(), re.DOTALL | re.MULTILINE)
    )
]


@pytest.mark.parametrize("code", SHOWN)
def test_code_of_the_documentation_runs(code, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "documentation", "exec"), {})
