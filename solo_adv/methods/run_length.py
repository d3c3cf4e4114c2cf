"""How many batches a run has, with whatever arguments of Lightning's Trainer end it."""

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lightning.pytorch import Trainer


def batches_in_all(trainer: "Trainer", *, replays: int = 1, accumulated: int = 1) -> int:
    """The number of batches of the whole run, in one process; 0 if it is not known.

    Args:
        trainer: the Trainer, which counts every optimiser step in ``max_steps``.
        replays: optimiser steps of each update.
        accumulated: number of batches whose gradients an update averages. The last update of an
            epoch may have fewer.
    """
    epochs, batches = trainer.max_epochs or 0, trainer.num_training_batches
    if epochs < 0 or not 0 < batches < math.inf:
        return 0
    batches = int(batches)
    if trainer.max_steps < 0:
        return batches * epochs
    whole_epochs, updates = divmod(trainer.max_steps // replays, math.ceil(batches / accumulated))
    return min(batches * epochs, batches * whole_epochs + min(batches, updates * accumulated))
