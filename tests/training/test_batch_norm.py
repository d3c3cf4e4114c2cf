"""Layers that share statistics in two processes agree with torch's layer in one process."""

import socket

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from timm.layers import BatchNormAct2d
from torch import nn

from solo_adv.training.batch_norm import ProcessBatchNorm, SyncedBatchNorm
from tests.several import run_in_processes

SHARES = (5, 3)  # sizes of the parts of a batch of 8, which may differ


def layers():
    torch.manual_seed(0)
    found = nn.Sequential(
        nn.BatchNorm2d(3, momentum=None),
        BatchNormAct2d(3),
        nn.Flatten(),
        nn.BatchNorm1d(12, affine=False),
        nn.BatchNorm1d(12, track_running_stats=False),
    ).double()
    for module in found:
        if getattr(module, "weight", None) is not None:
            nn.init.normal_(module.weight)
            nn.init.normal_(module.bias)
    return found


def batch():
    generator = torch.Generator().manual_seed(1)
    return 5 + torch.randn(8, 3, 2, 2, dtype=torch.float64, generator=generator)


def passed(model, images, weights):
    """Pass images twice; return their gradient and the state of the model."""
    images = images.requires_grad_()
    for _ in range(2):
        images.grad = None
        (model(images) * weights).sum().backward()
    return images.grad, {name: value.clone() for name, value in model.state_dict().items()}


def weights():
    return torch.randn(8, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(2))


def _process(rank, port, results):
    address = f"tcp://127.0.0.1:{port}"
    dist.init_process_group("gloo", init_method=address, rank=rank, world_size=2)
    try:
        mine = slice(0, SHARES[0]) if rank == 0 else slice(SHARES[0], 8)
        model = SyncedBatchNorm(gpu=False).apply(layers())
        assert sum(isinstance(m, ProcessBatchNorm) for m in model.modules()) == 4
        results[rank] = passed(model, batch()[mine], weights()[mine])
    finally:
        dist.destroy_process_group()


@pytest.mark.slow
def test_two_processes_equal_one():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with mp.Manager() as manager:
        results = manager.dict()
        run_in_processes(_process, (port, results), 2)
        found = dict(results)
    gradient, state = passed(layers(), batch(), weights())
    close = {"rtol": 1e-9, "atol": 1e-12}
    torch.testing.assert_close(torch.cat([found[0][0], found[1][0]]), gradient, **close)
    for rank in range(2):
        assert found[rank][1].keys() == state.keys()
        for name, value in state.items():
            torch.testing.assert_close(found[rank][1][name], value, **close)


def test_in_one_process_the_layers_are_torchs():
    expected, model = layers(), SyncedBatchNorm(gpu=False).apply(layers())
    for one, other in zip(
        passed(expected, batch(), weights()), passed(model, batch(), weights()), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=0, atol=0)
    torch.testing.assert_close(model.eval()(batch()), expected.eval()(batch()), rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_stays(dtype, monkeypatch):
    monkeypatch.setattr(ProcessBatchNorm, "_shares", lambda self: True)
    layer = SyncedBatchNorm(gpu=False).apply(nn.BatchNorm1d(4))
    x = torch.randn(64, 4, dtype=dtype)
    out = layer(x)
    assert out.dtype == dtype
    torch.testing.assert_close(out.float(), nn.BatchNorm1d(4)(x.float()), rtol=0.02, atol=0.02)
