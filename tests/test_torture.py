"""A short round of ``make torture``."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_killed_runs_end_as_if_they_had_not_been(tmp_path):
    result = tmp_path / "torture.json"
    command = [
        *(sys.executable, "-m", "benchmarks.torture", "--kills", "2", "--methods", "cfamc"),
        *("--seed", "0", "--examples", "0", "--result", str(result)),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    count = json.loads(result.read_text())["kills"]["cfamc"]
    assert count["sigkill"] + count["sigterm"] == count["identical"] == 2
    assert not count["failures"]
