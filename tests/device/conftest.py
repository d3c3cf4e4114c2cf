"""The device of these tests: a CUDA device if there is one, else the pretend one."""

import pytest
import torch

from tests.device import pretend
from tests.device.devices import kinds

if pretend.NAME in kinds():  # while tests are collected, and therefore before any of them runs
    pretend.prepare()


@pytest.fixture(params=kinds())
def device(request):
    """The type of the device, on which float32 is computed exactly."""
    if request.param is None:
        pytest.skip("this version of torch has no backends in Python, and there is no CUDA device")
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False
    if request.param == pretend.NAME:
        with pretend.in_use():
            yield request.param
    else:
        yield request.param
    torch.set_float32_matmul_precision(before[0])
    torch.backends.cudnn.allow_tf32 = before[1]
