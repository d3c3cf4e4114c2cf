"""The benchmark is killed after every stage and continued; its figures stay the same. Slow."""

import json
import os
import signal
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

COMMAND = [
    *(sys.executable, "-u", "-m", "solo_adv.benchmark", "checkpoint=cfamc_resnet10w16_digits_m3"),
    *("data.fraction=0.05", "max_images=10", "alarm_images=5", "accelerator=cpu"),
]


def run_until_new_stage(results_dir, seen: set[str]) -> bool:
    """Run the command and kill it at the first line of a stage that is not in ``seen``.

    Returns:
        Whether the command came to its end.
    """
    with subprocess.Popen(
        [*COMMAND, f"results_dir={results_dir}"],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            stage, colon, _ = line.partition(":")
            if colon and line[0].isalnum() and stage not in seen:
                seen.add(stage)
                process.send_signal(signal.SIGKILL)
                return False
    assert process.returncode == 0
    return True


def figures(results_dir) -> dict:
    (file,) = results_dir.rglob("benchmark.json")
    benchmark = json.loads(file.read_text())
    assert benchmark["missing"] == []
    return {
        name: (protocol["figures"], protocol["errors"], protocol["others"])
        for name, protocol in benchmark["protocols"].items()
    }


def test_a_kill_after_every_stage_changes_no_figure(tmp_path):
    seen: set[str] = set()
    while not run_until_new_stage(tmp_path / "killed", seen):
        print("killed after", sorted(seen), flush=True)
    protocols = {f"{number} of 3" for number in (1, 2, 3)}
    assert {*protocols, "features", "standard head", "robust head", "AutoAttack at 8/255"} <= seen
    in_one_go = subprocess.run([*COMMAND, f"results_dir={tmp_path / 'once'}"], check=True)
    assert in_one_go.returncode == 0
    once = figures(tmp_path / "once")
    assert figures(tmp_path / "killed") == once
    assert set(once) == {"slf", "alf", "aff"}
