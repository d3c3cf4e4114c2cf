"""Several processes give the same loss and gradients as one process with the joined batch."""

import socket

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
import torch.nn.functional as F

from solo_adv.objectives import EMP, NTXent, Supervised, Update
from solo_adv.support.gather import gather_batch
from tests.several import run_in_processes

VIEWS, IMAGES, DIM = 3, 8, 6


def _data():
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(VIEWS, IMAGES, 5, dtype=torch.float64, generator=generator)
    weight = torch.randn(5, DIM, dtype=torch.float64, generator=generator)
    return images, weight


OBJECTIVES = {
    "emp": EMP(),
    "nt_xent": NTXent(),
    "sup_con": Supervised(),
    "cross_entropy": Supervised(loss="cross_entropy"),
}
LABELS = torch.tensor([0, 1, 2, 0, 2, 2, 1, 0])


def shown(z, labels):
    return Update(z, torch.zeros(len(z), dtype=torch.bool), labels)


def _process(rank, processes, port, results):
    dist.init_process_group(
        "gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=processes
    )
    try:
        share = IMAGES // processes
        mine = slice(rank * share, (rank + 1) * share)
        for name, objective in OBJECTIVES.items():
            images, weight = _data()
            weight.requires_grad_()
            loss = objective(shown(F.normalize(images[:, mine] @ weight, dim=-1), LABELS[mine]))
            loss.total.backward()
            dist.all_reduce(weight.grad)
            # DDP averages the gradients of the processes.
            results[rank, name] = (loss.total.detach(), weight.grad / processes)
    finally:
        dist.destroy_process_group()


@pytest.mark.parametrize("processes", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_several_processes_equal_one(free_port, processes):
    with mp.Manager() as manager:
        results = manager.dict()
        run_in_processes(_process, (processes, free_port, results), processes)
        found = dict(results)
    for name, objective in OBJECTIVES.items():
        images, weight = _data()
        weight.requires_grad_()
        loss = objective(shown(F.normalize(images @ weight, dim=-1), LABELS))
        loss.total.backward()
        for rank in range(processes):
            total, gradient = found[rank, name]
            # Cross-entropy is a mean over samples, so each process has only the loss of its part.
            if name != "cross_entropy":
                torch.testing.assert_close(total, loss.total.detach(), rtol=1e-12, atol=0)
            torch.testing.assert_close(gradient, weight.grad, rtol=1e-6, atol=1e-8)


def test_one_process_gathers_nothing():
    z = torch.randn(2, 3, 4)
    assert gather_batch(z, dim=1) is z


@pytest.fixture
def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
