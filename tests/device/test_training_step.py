"""Every method's training step without a Trainer: on the device as on the CPU, and never waiting.

``test_training.py`` has the quick checks of all methods, in a Trainer.
"""

import pytest
import torch

from tests.device.devices import ALL_METHODS, loss_and_gradient, never_waiting, step


def check_step(made, device):
    before = [p.detach().clone() for p in made.method.parameters()]
    made()  # the first step makes plans and workspaces
    with never_waiting(device):
        made()
    after = list(made.method.parameters())
    assert all(p.isfinite().all() for p in after)
    assert any(not torch.equal(a, b) for a, b in zip(after, before, strict=True))
    assert all(p.device.type == device for p in after)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
@pytest.mark.parametrize("method", ALL_METHODS)
def test_a_step_stays_on_the_device_and_never_waits(device, method, precision):
    check_step(step(method, device, f"precision={precision}"), device)


@pytest.mark.parametrize(
    "method", [m if m == "cfamc" else pytest.param(m, marks=pytest.mark.slow) for m in ALL_METHODS]
)
def test_loss_and_gradients_agree_with_the_cpu(device, method):
    expected, direction = loss_and_gradient(method, "cpu")
    loss, gradient = loss_and_gradient(method, device)
    assert loss == pytest.approx(expected, rel=1e-4)
    assert (gradient - direction).norm() < 0.01 * direction.norm()


@pytest.mark.slow
@pytest.mark.parametrize("method", ALL_METHODS)
def test_bfloat16_learns_the_same(device, method):
    expected, direction = loss_and_gradient(method, device)
    loss, gradient = loss_and_gradient(method, device, "precision=bf16-mixed")
    assert loss == pytest.approx(expected, rel=0.02)
    assert loss != expected
    assert torch.cosine_similarity(gradient, direction, dim=0) > 0.9
