"""Two real processes give the loss and gradients of one process with the joined batch."""

import socket

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
import torch.nn.functional as F

from solo_adv.objectives import EMP, gather_batch

VIEWS, BATCH, DIM = 3, 4, 6


def _data():
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(VIEWS, 2 * BATCH, 5, dtype=torch.float64, generator=generator)
    weight = torch.randn(5, DIM, dtype=torch.float64, generator=generator)
    return images, weight


def _process(rank, port, results):
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    try:
        images, weight = _data()
        weight.requires_grad_()
        mine = images[:, rank * BATCH : (rank + 1) * BATCH]
        loss = EMP()(F.normalize(mine @ weight, dim=-1), torch.zeros(BATCH))
        loss.total.backward()
        dist.all_reduce(weight.grad)
        results[rank] = (loss.total.detach(), weight.grad / 2)  # DDP averages
    finally:
        dist.destroy_process_group()


def test_two_processes_equal_one(free_port):
    with mp.Manager() as manager:
        results = manager.dict()
        mp.spawn(_process, args=(free_port, results), nprocs=2)
        found = dict(results)
    images, weight = _data()
    weight.requires_grad_()
    loss = EMP()(F.normalize(images @ weight, dim=-1), torch.zeros(2 * BATCH))
    loss.total.backward()
    for total, gradient in found.values():
        torch.testing.assert_close(total, loss.total.detach(), rtol=1e-12, atol=0)
        torch.testing.assert_close(gradient, weight.grad, rtol=1e-9, atol=1e-12)


def test_one_process_gathers_nothing():
    z = torch.randn(2, 3, 4)
    assert gather_batch(z, dim=1) is z


@pytest.fixture
def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
