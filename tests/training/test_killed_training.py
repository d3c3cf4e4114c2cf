"""A run that is killed within an epoch leaves no process behind, with any crop backend."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from solo_adv.support.errors import TRY_AGAIN

pytestmark = pytest.mark.slow

COMMON = [
    *("--config-name", "emp_ssl.yaml", "data=custom", "data.no_labels=true", "data.image_size=16"),
    *("crops.num_crops=4", "crops.size=16", "optimizer.batch_size=8", "max_epochs=1000"),
    *("+backbone.kwargs.width=4", "method_kwargs.proj_hidden_dim=16"),
    *("method_kwargs.proj_output_dim=8", "accelerator=cpu", "knn_eval.enabled=false"),
    *("data.resident=false", "data.num_workers=2"),
]
BACKENDS = {
    "torch": [],
    "torchvision": ["crops.backend=torchvision"],
    "dali": ["data.format=dali"],
}
PATIENCE = 90  # seconds


@pytest.fixture
def folder(tmp_path):
    random = np.random.default_rng(0)
    (tmp_path / "images").mkdir()
    for number in range(64):
        image = Image.fromarray(random.integers(0, 256, (20, 20, 3), dtype=np.uint8))
        image.save(tmp_path / "images" / f"{number}.png")
    return tmp_path / "images"


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGKILL], ids=lambda sent: sent.name)
@pytest.mark.parametrize("backend", BACKENDS)
def test_no_process_survives(backend, sent, folder, tmp_path):
    if backend == "dali":
        pytest.importorskip("nvidia.dali", reason="pip install 'solo-adv[dali]'")
    command = [sys.executable, "-m", "solo_adv.commands.pretrain", *COMMON, *BACKENDS[backend]]
    with (tmp_path / "output").open("w") as output:
        run = subprocess.Popen(
            [*command, f"data.train_path={folder}"],
            cwd=tmp_path,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # its processes are then found by their group
        )
    try:
        _wait_for(lambda: list(tmp_path.rglob("*ep=*.ckpt")) or run.poll() is not None)
        said = (tmp_path / "output").read_text()
        assert run.poll() is None, said
        if backend != "dali":
            assert len(_members(run.pid)) > 1, "no worker to leave behind"
        run.send_signal(sent)
        run.wait(PATIENCE)
        _wait_for(lambda: not _members(run.pid))
    finally:
        for process in _members(run.pid):
            os.kill(process, signal.SIGKILL)


@pytest.mark.skipif(not hasattr(signal, "sigwaitinfo"), reason="needs to know a signal's sender")
def test_a_signal_to_all_processes_of_a_job_is_answered_by_a_checkpoint(folder, tmp_path):
    command = [sys.executable, "-m", "solo_adv.commands.pretrain", *COMMON]
    output = (tmp_path / "output").open("w")
    run = subprocess.Popen(
        [*command, f"data.train_path={folder}"],
        cwd=tmp_path,
        stdout=output,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        _wait_for(lambda: list(tmp_path.rglob("*ep=*.ckpt")) or run.poll() is not None)
        os.killpg(run.pid, signal.SIGTERM)
        run.wait(PATIENCE)
        _wait_for(lambda: not _members(run.pid))
    finally:
        for process in _members(run.pid):
            os.kill(process, signal.SIGKILL)
        output.close()
    assert run.returncode == TRY_AGAIN
    assert "Stopped by SIGTERM. Saved as" in (tmp_path / "output").read_text()


def _wait_for(condition):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it hangs"
        time.sleep(0.2)


def _members(group):
    """The processes of a group that still run."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                state, _, process_group = (
                    (entry / "stat").read_text().rpartition(")")[2].split()[:3]
                )
            except (OSError, ValueError):
                continue  # the process has ended meanwhile
            if int(process_group) == group and state != "Z":
                found.append(int(entry.name))
    return found
