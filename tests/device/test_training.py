"""Lightning trains every method on the device; no step, with its logging, makes the CPU wait."""

import pytest

from tests.device.devices import ALL_METHODS
from tests.device.trainers import trained

FURTHER = {"acl": ("method_kwargs.sir=0.5", "method_kwargs.air=0.5")}
"""Settings that add terms to a method's loss which are off by default."""


@pytest.mark.parametrize("method", ALL_METHODS)
def test_training_stays_on_the_device_and_no_step_waits(device, method):
    made, watching = trained(method, device, *FURTHER.get(method, ()))
    assert watching.devices == watching.logged == {device}
    for name, tensor in made.state_dict().items():
        assert tensor.isfinite().all(), name
    assert made.trainer.global_step == made.trainer.num_training_batches * made.adversary.replays
    assert made.trainer.callback_metrics["train_class_loss"].isfinite()
