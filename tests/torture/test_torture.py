"""A short round of ``make torture``."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import torture.__main__ as torture
from torture import leaks

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_killed_runs_end_like_uninterrupted_ones(tmp_path):
    result = tmp_path / "torture.json"
    command = [
        *(sys.executable, "-m", "torture", "--kills", "2", "--methods", "cfamc"),
        *("--only", "kills", "--seed", "0", "--result", str(result)),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    count = json.loads(result.read_text())["kills"]["cfamc"]
    assert count["sigkill"] + count["sigterm"] == count["identical"] == 2
    assert not count["failures"]


@pytest.mark.slow
def test_memory_stays_flat():
    found = leaks.measure("cfamc", 400)
    assert found["steps"] == 400
    assert len(found["readings_mib"]) == leaks.READINGS
    assert found["growth"] < 2 * leaks.MOST_GROWTH  # twice the bound, because this run is shorter


@pytest.mark.slow
def test_fuzzing_in_parts(tmp_path):
    result = tmp_path / "torture.json"
    command = [sys.executable, "-m", "torture", "--only", "fuzz", "--result", result]
    for examples, minutes in ((20, "0"), (20, "10"), (30, "10")):
        done = subprocess.run(
            [*command, "--examples", str(examples), "--minutes", minutes], cwd=ROOT, check=False
        )
        assert done.returncode == 0
        counts = [found["examples"] for found in json.loads(result.read_text())["fuzz"].values()]
        assert all(count == 0 if minutes == "0" else count >= examples for count in counts)
    assert len(counts) == len(torture.FUZZ)
