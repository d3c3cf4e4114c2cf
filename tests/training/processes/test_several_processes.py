"""Several processes train as one process does on the joined batch, and can be resumed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from solo_adv.support.processes import usable_cores

ROOT = Path(__file__).parents[3]
GRADIENTS = Path(__file__).with_name("gradients_of.py")
SHORT = ["cfamc", "robust_emp", "simclr_freeadv"]
ALL = [
    *("emp_ssl", "robust_emp", "robust_emp eval", "robust_emp accumulating", "cfamc", "simclr"),
    *("robust_simclr", "robust_simclr cross", "simclr_freeadv", "supervised_freeadv"),
    *("supervised_freeadv sup_con", "cfamc twins", "acl", "acl air", "deacl"),
    *("deacl_fast", "deacl_fast bank", "deacl_freeadv", "dynacl", "dynacl_pp", "fare"),
]
PATIENCE = 300  # seconds
FOUR_CORES = pytest.mark.skipif(
    usable_cores() < 4, reason="devices=4 is refused with fewer than 4 processor cores"
)


def launch(processes, directory, *command):
    """Start a script, with torchrun if it is to run in several processes."""
    several = ["-m", "torch.distributed.run", "--nproc-per-node", str(processes)]
    several += ["--master-port", "0", "--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0"]
    return subprocess.Popen(
        [sys.executable, *(several if processes > 1 else []), *map(str, command)],
        cwd=directory,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def descendants(process):
    """Descendants of a process. Those of torchrun have sessions of their own and may outlive it."""
    found = []
    for children in Path(f"/proc/{process}/task").glob("*/children"):
        for child in children.read_text().split():
            found += [int(child), *descendants(child)]
    return found


def end_of(run):
    """Wait for a process to end; return its exit status and output."""
    try:
        said, _ = run.communicate(timeout=PATIENCE)
    finally:
        run.kill()
    return run.returncode, said


def trained(directory, processes, cases):
    """Train in some processes; return the results of each process, ordered by rank."""
    status, said = end_of(launch(processes, directory, GRADIENTS, directory, processes, *cases))
    assert status == 0, said
    return [torch.load(directory / f"{processes}-{rank}.pt") for rank in range(processes)]


def relative(one, other):
    return float((one - other).norm() / one.norm())


@pytest.mark.parametrize(
    ("cases", "processes"),
    [
        pytest.param(SHORT, 2, marks=pytest.mark.slow),
        pytest.param(ALL, 2, marks=pytest.mark.slow),
        pytest.param(ALL, 4, marks=[pytest.mark.slow, FOUR_CORES]),
    ],
    ids=["short", "all", "all in four"],
)
def test_gradients_are_those_of_one_process(tmp_path, cases, processes):
    (alone,) = trained(tmp_path, 1, cases)
    for found in trained(tmp_path, processes, cases):
        assert found.keys() == alone.keys()
        for case in cases:
            compare(alone[case], found[case], f"{case}, {processes} processes")


def compare(alone, found, case):
    updates = 6 if "cfamc" in case or "freeadv" in case else 2
    largest = max(gradient.norm() for part in alone["gradients"].values() for gradient in part)
    assert largest > 1e-3
    for name, gradients in alone["gradients"].items():
        assert len(gradients) == len(found["gradients"][name]) == updates
        for one, other in zip(gradients, found["gradients"][name], strict=True):
            assert one.dtype == torch.float64
            if one.norm() < 1e-12 * largest:  # biases before a norm have only rounding errors
                assert other.norm() < 1e-10 * largest, (case, name)
            else:
                assert relative(one, other) < 1e-6, (case, name)
    for name, one in alone["state"].items():  # includes the running statistics
        torch.testing.assert_close(found["state"][name], one, rtol=1e-6, atol=1e-9)


JOB = [
    *("--config-name", "cfamc", "data=digits", "data.fraction=0.2", "optimizer.batch_size=4"),
    *("crops.num_crops=2", "crops.size=8", "backbone.kwargs.width=4"),
    *("+backbone.kwargs.layers=[1,1,1,1]", "method_kwargs.proj_hidden_dim=8"),
    *("method_kwargs.proj_output_dim=6", "max_epochs=2", "accelerator=cpu", "devices=2"),
    *("strategy=ddp", "checkpoint.minutes=1e-9"),
]


@pytest.mark.slow
@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGKILL], ids=lambda sent: sent.name)
def test_killed_processes_continue_bit_by_bit(tmp_path, sent):
    pretrain = ROOT / "main_pretrain.py"
    status, said = end_of(launch(2, tmp_path, pretrain, *JOB, "checkpoint.dir=straight"))
    assert status == 0, said
    broken = [pretrain, *JOB, "checkpoint.dir=broken"]
    run = launch(2, tmp_path, *broken)
    deadline = time.monotonic() + PATIENCE
    while not list(tmp_path.glob("broken/*/*/*-batch=*.ckpt")):
        assert time.monotonic() < deadline, "no checkpoint"
        assert run.poll() is None, run.communicate()[0]
        time.sleep(0.02)
    if sent is signal.SIGKILL:
        for process in [run.pid, *descendants(run.pid)]:
            os.kill(process, sent)
    else:
        run.send_signal(sent)  # torchrun passes the signal on
    status, said = end_of(run)
    assert status != 0
    if sent is signal.SIGTERM:
        assert "the same command continues it" in said
        assert len(list(tmp_path.glob("broken/cfamc/*"))) == 1
    assert not list(tmp_path.glob("broken/*/*/*ep=1.ckpt"))
    status, said = end_of(launch(2, tmp_path, *broken))
    assert status == 0, said
    assert said.count("Resuming from") == 1
    one, other = (
        torch.load(path, weights_only=True)
        for name in ("straight", "broken")
        for path in tmp_path.glob(f"{name}/*/*/*ep=1.ckpt")
    )
    assert len(one["solo_adv"]["processes"]) == 2
    for part in ("state_dict", "optimizer_states", "lr_schedulers"):
        assert_same(one[part], other[part])
    assert_same(one["solo_adv"]["processes"], other["solo_adv"]["processes"])
    # Each process has its own perturbation and random states.
    first, second = one["solo_adv"]["processes"]
    assert not torch.equal(first["adversary"]["delta"], second["adversary"]["delta"])


def assert_same(one, other):
    """Assert that two values are equal to the last bit."""
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, other)
    elif isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            assert_same(one[key], other[key])
    elif isinstance(one, list | tuple):
        assert len(one) == len(other)
        for pair in zip(one, other, strict=True):
            assert_same(*pair)
    else:
        assert one == other
