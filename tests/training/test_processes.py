"""Missing devices and nodes are refused before any process waits for them."""

import pytest
import torch
from omegaconf import OmegaConf

from solo_adv import UserError
from solo_adv.training import trainer
from solo_adv.training.trainer import check_processes


@pytest.fixture
def machine(monkeypatch):
    """A function that sets how many GPUs and cores there seem to be. No cluster is visible."""
    for name in trainer._OF_A_CLUSTER:
        monkeypatch.delenv(name, raising=False)

    def seem(gpus, cores=4):
        monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
        monkeypatch.setattr(trainer, "usable_cores", lambda: cores)

    return seem


def check(**settings):
    check_processes(OmegaConf.create(settings))


@pytest.mark.parametrize("devices", [1, "1", 2, "auto", -1, [0], [1], [0, 1]])
def test_existing_devices_are_accepted(machine, devices):
    machine(gpus=2)
    check(devices=devices)
    check(devices=devices, accelerator="gpu")


@pytest.mark.parametrize("devices", [8, "8", [0, 9], [2]])
def test_missing_gpus_are_refused(machine, devices):
    machine(gpus=2)
    with pytest.raises(UserError, match="this machine has 2 GPUs, numbered from 0 to 1"):
        check(devices=devices, accelerator="auto")


def test_processes_on_a_cpu(machine):
    machine(gpus=0, cores=4)
    for devices in (1, "1", 4, "auto", [0]):
        check(devices=devices)
    with pytest.raises(UserError, match="4 cores"):
        check(devices=8)
    with pytest.raises(UserError, match="devices=1 trains on the CPU"):
        check(devices=[0, 1])


def test_the_cpu_of_a_machine_with_gpus(machine):
    machine(gpus=8, cores=4)
    check(devices=2, accelerator="cpu")
    with pytest.raises(UserError, match="4 cores"):
        check(devices=8, accelerator="cpu")


@pytest.mark.parametrize("name", trainer._OF_A_CLUSTER)
def test_nodes_need_something_that_connects_them(machine, monkeypatch, name):
    machine(gpus=1)
    with pytest.raises(UserError, match=r"num_nodes=2.*srun.*torchrun"):
        check(devices=1, num_nodes=2)
    monkeypatch.setenv(name, "1")
    check(devices=1, num_nodes=2)


@pytest.mark.parametrize("setting", ["devices=999", "+num_nodes=2", "name=exp/one", "name=.."])
def test_pretraining_says_so_in_one_line(command, machine, setting):
    machine(gpus=0)
    status, _, err = command("main_pretrain", "--config-name", "cfamc", "data=digits", setting)
    assert status == 2
    (line,) = err.splitlines()
    assert line.startswith(f"error: {setting.strip('+').partition('=')[0]}")
