"""The labelled train and test split that an evaluation needs."""

from collections.abc import Mapping
from typing import Any

from solo_adv.data.config import DataConfig
from solo_adv.data.datasets import load_split
from solo_adv.data.image_set import ImageSet
from solo_adv.support.errors import UserError


def load_labelled(
    pretraining: Mapping[str, Any],
    overrides: Mapping[str, Any],
    *,
    input_size: int | None = None,
) -> tuple[ImageSet, ImageSet]:
    """Load the train and test split of an encoder's pretraining data or of another data set.

    Args:
        pretraining: ``data`` section of the pretraining config.
        overrides: settings that replace the pretraining run's, except those that are None.
        input_size: see :meth:`DataConfig.for_evaluation`.

    Raises:
        UserError: the data cannot be read, or there is no labelled test split.
    """
    return labelled_splits(DataConfig.for_evaluation(pretraining, overrides, input_size=input_size))


def labelled_splits(config: DataConfig) -> tuple[ImageSet, ImageSet]:
    """Load the train and test split that ``config`` names. It raises what `load_labelled` does."""
    train_set, test_set = load_split(config, "train"), load_split(config, "test")
    if train_set is None or test_set is None:
        raise UserError(
            f"data.dataset={config.dataset} has no test split here; name one with "
            "data.val_path=PATH."
        )
    return train_set, test_set
