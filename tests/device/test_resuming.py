"""A run on the device saves, stops within an epoch and ends like an uninterrupted run."""

import pytest
import torch

from solo_adv import load_pretrained
from solo_adv.methods.run_state import random_state, restore_random_state
from solo_adv.support.random_state import random_state_kept
from tests.device.trainers import settings_of
from tests.training.test_resume import JOB, final, interrupt_after

SHORT = [
    *("data.fraction=0.03", "optimizer.batch_size=8", "log_every_n_steps=2", "adversary.steps=1"),
    *("optimizer.name=lars", "adversary.random_start=true", "checkpoint.dir=runs"),
]
BATCHES = 5  # an epoch


@pytest.fixture
def pretrain(command, device):
    """A function that trains robust_emp, whose attacks start at random, on the device."""
    chosen = [f"{key}={value}" for key, value in settings_of(device).items()]

    def run(*more):
        job = [setting for setting in JOB if not setting.startswith("accelerator")]
        return command("main_pretrain", "--config-name", "robust_emp", *job, *SHORT, *chosen, *more)

    return run


@pytest.mark.slow
def test_a_stopped_run_ends_like_an_uninterrupted_one(pretrain, device, monkeypatch, tmp_path):
    status, _, err = pretrain("checkpoint.dir=straight")
    assert status == 0, err
    interrupt_after(monkeypatch, BATCHES + 2)
    status, _, err = pretrain()
    assert status == 75, err
    status, out, err = pretrain()
    assert status == 0, err
    assert "Resuming from" in out
    straight, broken = final(tmp_path / "straight"), final(tmp_path / "runs")
    (state,) = broken["solo_adv"]["processes"]
    assert device in state["random"]
    for name, weight in straight["state_dict"].items():
        torch.testing.assert_close(broken["state_dict"][name], weight, msg=name)
    (path,) = (tmp_path / "runs").rglob("*ep=1.ckpt")
    encoder = load_pretrained(path).to(device)
    assert encoder(torch.rand(2, 3, 16, 16, device=device)).device.type == device


def test_the_random_state_of_the_device_is_kept_and_restored(device):
    kept = random_state(torch.device(device))
    first = torch.rand(3, device=device)
    restore_random_state(kept, torch.device(device))
    with random_state_kept(device):
        torch.manual_seed(7)
        torch.rand(3, device=device)
    assert torch.equal(torch.rand(3, device=device).cpu(), first.cpu())
