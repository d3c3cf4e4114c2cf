"""A schedule in stages takes the value at the start of each stage."""

import pytest
import torch

from solo_adv.support.stages import start_of_stage


@pytest.mark.parametrize("number", [float, torch.tensor])
def test_every_batch_of_a_run_is_in_its_stage(number):
    batches = 997  # so that most batches begin within a stage
    for stages in (1, 3, 20):
        for batch in range(batches + 1):
            stage = min(batch * stages // batches, stages - 1)
            found = start_of_stage(number(batch / batches), stages)
            assert float(found) == pytest.approx(stage / stages, rel=1e-6)


@pytest.mark.parametrize("number", [float, torch.tensor])
def test_rounding_does_not_delay_a_stage(number):
    """Epochs 0, 50, 100, ... of 1000 begin a stage, though 0.15 * 20 may round to below 3."""
    for epoch in range(0, 1000, 50):
        assert float(start_of_stage(number(epoch / 1000), 20)) == pytest.approx(epoch / 1000)


def test_without_stages_the_progress_stays():
    assert start_of_stage(0.123, 0) == 0.123
