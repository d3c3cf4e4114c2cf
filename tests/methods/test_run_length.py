"""The planned length of a run, compared with a count of its batches and updates one by one."""

import itertools

import pytest
from omegaconf import OmegaConf

from solo_adv.methods.run_length import planned_batches, planned_updates


def counted(epochs, batches, steps, accumulated):
    """Batches and updates, counted as a run goes through them."""
    done = updates = 0
    for _ in range(epochs):
        for batch in range(1, batches + 1):
            done += 1
            updates += batch % accumulated == 0 or batch == batches
            if updates == steps:
                return done, updates
    return done, updates


@pytest.mark.parametrize("limit", [None, 3, 0.5])
def test_the_length_is_that_of_a_run(limit):
    for epochs, batches, steps, accumulated in itertools.product(
        (1, 3), (1, 5, 8), (None, 1, 2, 7, 100), (1, 2, 3)
    ):
        keys = {"max_steps": steps, "accumulate_grad_batches": accumulated}
        keys |= {"max_epochs": epochs, "limit_train_batches": limit}
        cfg = OmegaConf.create({key: value for key, value in keys.items() if value is not None})
        each = {None: batches, 3: min(3, batches), 0.5: batches // 2}[limit]
        found = planned_batches(cfg, batches), planned_updates(cfg, batches)
        assert found == counted(epochs, each, steps, accumulated), keys
