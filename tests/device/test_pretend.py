"""The pretend device refuses and counts what a GPU refuses and waits for."""

import copy
import io

import pytest
import torch
import torch.nn.functional as F

from solo_adv.encoders.backbones import build_backbone
from tests.device import pretend
from tests.device.devices import kinds, never_waiting

pytestmark = pytest.mark.skipif(pretend.NAME not in kinds(), reason="there is a CUDA device")


@pytest.fixture
def used():
    with pretend.in_use() as module:
        yield module


@pytest.fixture
def ones(used):
    return torch.ones(2, 3, device=pretend.NAME)


def test_a_network_computes_what_it_computes_on_the_cpu(used):
    torch.manual_seed(0)
    net, _ = build_backbone("resnet18", image_size=16, width=8)
    moved = copy.deepcopy(net).to(pretend.NAME)
    images = torch.rand(4, 3, 16, 16).contiguous(memory_format=torch.channels_last)
    for network, x in ((net, images), (moved, images.to(pretend.NAME))):
        F.log_softmax(network(x), 1)[:, 0].sum().backward()
    for ours, theirs in zip(moved.parameters(), net.parameters(), strict=True):
        assert ours.grad.device.type == pretend.NAME
        assert ours.grad.stride() == theirs.grad.stride()
        assert torch.equal(ours.grad.cpu(), theirs.grad)


@pytest.mark.parametrize(
    "mix",
    [
        lambda x: x + torch.ones(2, 3),
        lambda x: torch.cat([x, torch.ones(2, 3)]),
        lambda x: torch.stack([x.sum(), torch.ones(())]),
        lambda x: F.linear(x, torch.ones(4, 3)),
        lambda x: F.cross_entropy(x, torch.tensor([0, 1])),
        lambda x: x.index_select(0, torch.tensor([1])),
        lambda x: torch.zeros(2, 3).add_(x),
        lambda x: F.conv2d(x[None, None], torch.ones(1, 1, 1, 1)),
        lambda x: x.uniform_(generator=torch.Generator()),
    ],
)
def test_mixing_with_the_cpu_is_an_error(ones, mix):
    with pytest.raises(RuntimeError, match=r"device|zero-dimensional"):
        mix(ones)


def test_a_tensor_without_dimensions_of_the_cpu_may_take_part(ones):
    assert (ones * torch.tensor(2.0)).sum().item() == 12
    assert (ones.masked_fill(ones > 0, torch.tensor(3.0)) == 3).all()


@pytest.mark.parametrize(
    ("wait", "how_often"),
    [
        (lambda x: x.sum().item(), 1),
        (lambda x: float(x[0, 0]), 1),
        (lambda x: bool(x.all()), 1),
        (lambda x: x.cpu(), 1),
        (lambda x: x.tolist(), 1),
        (lambda x: x.nonzero(), 1),
        (lambda x: x[x > 0], 1),
        (lambda x: x[torch.tensor([0, 1])], 1),
        (lambda x: x.index_put_((x[:, 0] > 0,), x[0]), 1),
        (lambda x: torch.ones(2).to(x.device), 1),
        (lambda x: torch.tensor(1.0, device=x.device), 1),
        (lambda x: torch.equal(x, x), 1),
        (lambda x: torch.ones(2).to(x.device, non_blocking=True), 0),
        (lambda x: x[torch.zeros(1, dtype=torch.long, device=x.device)], 0),
        (lambda x: torch.where(x > 0, x, 0).mul_(2).sum(), 0),
    ],
)
def test_waiting_is_counted(ones, used, wait, how_often):
    used.waits.clear()
    wait(ones)
    assert len(used.waits) == how_often
    if how_often:
        with pytest.raises(RuntimeError, match="waits"), never_waiting(pretend.NAME):
            wait(ones)


def test_printing_waits(ones, used):
    used.waits.clear()
    assert "1." in str(ones)
    assert used.waits


def test_random_numbers_are_the_devices_own(used):
    torch.manual_seed(1)
    of_cpu = torch.get_rng_state()
    first = torch.rand(3, device=pretend.NAME)
    assert torch.equal(torch.get_rng_state(), of_cpu)
    torch.manual_seed(1)
    assert torch.equal(torch.rand(3, device=pretend.NAME).cpu(), first.cpu())
    generator = torch.Generator(pretend.NAME).manual_seed(7)
    assert generator.device.type == pretend.NAME
    drawn = torch.randn(3, device=pretend.NAME, generator=generator)
    again = torch.randn(3, device=pretend.NAME, generator=generator.manual_seed(7))
    assert torch.equal(drawn.cpu(), again.cpu())


def test_views_share_memory_and_gradients_flow_through_them(ones):
    ones.t()[0].zero_()
    assert ones.sum().item() == 4
    x = torch.ones(2, 3, device=pretend.NAME, requires_grad=True)
    (x.unfold(1, 2, 1).sum() + x[:, ::2].sum()).backward()
    assert x.grad.tolist() == [[2.0, 2.0, 2.0]] * 2


def test_copies_and_files_have_their_own_memory(ones):
    copied = copy.deepcopy(torch.nn.Parameter(ones))
    ones.zero_()
    assert copied.device.type == pretend.NAME
    assert copied.sum().item() == 6
    file = io.BytesIO()
    torch.save(copied, file)
    file.seek(0)
    loaded = torch.load(file, weights_only=True)
    assert loaded.device.type == pretend.NAME
    assert loaded.tolist() == [[1.0] * 3] * 2


def test_the_device_is_there_only_while_it_is_in_use(used):
    assert torch.pretend.is_available()
    used.in_use = False
    assert not torch.pretend.is_available()


def test_autocast_casts_as_cuda_does(used):
    x = torch.ones(2, 3, device=pretend.NAME)
    with torch.autocast(pretend.NAME, torch.bfloat16):
        product = F.linear(x, x)
        assert product.dtype == torch.bfloat16
        assert product.softmax(1).dtype == torch.float32
        assert torch.cat([x[:, :2], product]).dtype == torch.float32
        assert (product + 1).dtype == torch.bfloat16
