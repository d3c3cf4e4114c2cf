"""The cost command as a user types it, and the arithmetic that it prints."""

from functools import partial

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensor

from solo_adv.cost import Network, pass_flops
from solo_adv.cost.memory import step_memory
from solo_adv.methods.teacher import TeacherSettings, read_teacher

TINY = ("data=digits", "backbone.kwargs.width=4", "crops.num_crops=2", "optimizer.batch_size=16")


@pytest.fixture
def cost(command):
    return partial(command, "cost.__main__")


@pytest.fixture
def one_batch_size(monkeypatch):
    """Leaves the memory of other batch sizes out, which takes seconds for each."""
    monkeypatch.setattr("solo_adv.cost.summary.BATCHES", (1,))


def test_what_the_papers_run_costs(cost, monkeypatch):
    measured = []

    def once(
        cfg, batch_size=None
    ):  # the sizes are tested in test_memory.py, and each takes seconds
        measured[:] = measured or [step_memory(cfg, batch_size)]
        return measured[0]

    monkeypatch.setattr("solo_adv.cost.memory.step_memory", once)
    status, out, err = cost("--config-name", "cfamc.yaml", "--throughput", 60_000, "--price", 3)
    assert status == 0, err
    assert "5,000 batches of 100 images x 16 crops, 15,000 updates" in out
    assert "4,800 crop passes" in out
    assert "24.00 M crop passes" in out
    assert "6 min 40 s" in out  # 24 M / 60,000 s
    assert "0.33 USD at 3 an hour" in out
    assert "146 MiB" in out  # 50,000 x 3 x 32 x 32 bytes
    assert "18.8 MiB a batch" in out  # 1,600 x 3 x 32 x 32 x 4 bytes
    rows = [line for line in out.splitlines() if line.startswith("│")]
    assert [row.split("│")[1].strip() for row in rows] == ["25", "50", "100", "200", "400"]


@pytest.mark.usefixtures("one_batch_size")
@pytest.mark.slow
def test_a_throughput_is_measured_if_none_is_given(cost, monkeypatch):
    asked = []

    def measured(network, precision):
        asked.append((network, precision))
        return 123.0

    monkeypatch.setattr("solo_adv.cost.summary.measured_throughput", measured)
    status, out, err = cost("--config-name", "cfamc.yaml", *TINY, "precision=bf16-mixed")
    assert status == 0, err
    assert "123 crop passes a second (measured just now" in out
    ((network, precision),) = asked
    assert network.size == 16
    assert '"width": 4' in network.kwargs
    assert precision == "bf16-mixed"


@pytest.mark.usefixtures("one_batch_size")
def test_the_data_need_not_exist(cost):
    given = ("--config-name", "cfamc.yaml", "--throughput", 1000, "data.train_path=/not/here")
    status, out, err = cost(*given, "data=custom", "--images", 12_345, "data.image_size=48")
    assert status == 0, err
    assert "123 batches" not in out
    assert "1,230 batches" in out  # 12,345 // 100 an epoch, 10 epochs
    status, _, err = cost(*given, "data=custom", "data.image_size=48")
    assert status == 2
    assert "--images" in err


@pytest.mark.usefixtures("one_batch_size")
def test_what_the_loader_sends(cost):
    given = ("--config-name", "cfamc.yaml", *TINY, "--throughput", 1000)
    _, out, err = cost(*given)
    assert "nothing: images are resident" in out
    assert err.strip().endswith(
        "Next: python -m solo_adv.commands.pretrain --config-name cfamc.yaml " + " ".join(TINY)
    )
    out = cost(*given, "data.resident=false")[1]
    assert "12 KiB: images" in out  # 16 x 3 x 16 x 16 bytes


@pytest.mark.usefixtures("one_batch_size")
def test_crops_that_the_loader_sends(cost):
    pytest.importorskip("nvidia.dali", reason="pip install 'solo-adv[dali]'")
    out = cost("--config-name", "cfamc.yaml", *TINY, "--throughput", 1000, "data.format=dali")[1]
    assert "96 KiB: the loader delivers crops" in out  # 16 x 2 x 3 x 16 x 16 x 4 bytes


@pytest.mark.usefixtures("one_batch_size")
@pytest.mark.slow
def test_a_method_with_a_teacher_and_without_a_projector(cost):
    teacher = "cfamc_resnet10w16_digits_m3"
    given = ("--config-name", "fare.yaml", "data=digits", f"teacher.checkpoint={teacher}")
    status, out, err = cost(*given, "--throughput", 100)
    assert status == 0, err
    assert "Memory of a step" in out
    settings = TeacherSettings(kind="network", checkpoint=teacher, features="backbone")
    encoder, _ = read_teacher(settings)
    assert torch.isfinite(encoder(torch.rand(1, 3, 16, 16))).all()
    assert not any(isinstance(weight, FakeTensor) for weight in encoder.parameters())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--config-name", "cfamc.yaml", "--throughput", 0), "--throughput"),
        (("--config-name", "cfamc.yaml", "--throughput", 1, "--price", -1), "--price"),
        (("--config-name", "cfamc.yaml", "--throughput", 1, "--images", 0), "--images"),
        (("--config-name", "cfamc.yaml", "--throughput", 1, "--images", 3), "no batch"),
        (("--config-name", "cfamc.yaml", "adversary.epsilon=8"), "8/255"),
        (("--config-name", "cfamc.yaml", "optimizer.batch_sise=8"), "batch_sise"),
        (("--config-name", "cfamcc.yaml"), "cfamc"),
        ((), "--config-name"),
    ],
)
def test_mistakes_read_as_one_line(cost, arguments, message):
    status, _, err = cost(*arguments)
    assert status == 2
    assert message in err
    assert len(err.strip().splitlines()) == 1


def test_operations_of_a_pass_are_those_counted_by_hand(monkeypatch):
    size, channels, hidden, output = 8, 4, 16, 8

    def one_convolution(*_, **__):
        layers = nn.Sequential(
            nn.Conv2d(3, channels, 3, padding=1, bias=False), nn.AdaptiveAvgPool2d(1), nn.Flatten()
        )
        return layers, channels

    monkeypatch.setattr("solo_adv.cost.network.build_backbone", one_convolution)
    network = Network("by hand", "{}", size, hidden, output)
    # Multiplications and additions: the convolution's forward pass and weight gradient (its input
    # needs none), and the projector's three layers with forward pass and both gradients.
    convolution = 2 * size * size * channels * 3 * 9
    projector = 2 * (channels * hidden + hidden * hidden + hidden * output)
    assert pass_flops(network) == 2 * convolution + 3 * projector


def test_a_measured_throughput_is_of_the_network_asked_for():
    from solo_adv.cost import measured_throughput  # noqa: PLC0415

    small = Network("resnet18", '{"width": 4}', 8, 16, 8)
    rate = measured_throughput(small, seconds=0.0)
    assert 0 < rate < 1e7
    assert measured_throughput(small, precision="bf16-mixed", seconds=0.0) > 0
    assert torch.is_grad_enabled()
