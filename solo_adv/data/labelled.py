"""The labelled train and test split that an evaluation needs."""

from collections.abc import Mapping
from typing import Any

from solo_adv.data.config import DataConfig
from solo_adv.data.datasets import load_split
from solo_adv.data.image_set import ImageSet
from solo_adv.data.transfer import transfer_on_record, transfer_words
from solo_adv.support.errors import UserError
from solo_adv.support.progress import say


def load_labelled(
    pretraining: Mapping[str, Any],
    overrides: Mapping[str, Any],
    *,
    input_size: int | None = None,
) -> tuple[ImageSet, ImageSet]:
    """Load the train and test split of an encoder's pretraining data or of another data set.

    A line on stderr says so if it is another one.

    Args:
        pretraining: ``data`` section of the pretraining config.
        overrides: settings that replace the pretraining run's, except those that are None.
        input_size: see :meth:`DataConfig.for_evaluation`.

    Raises:
        UserError: the data cannot be read, or there is no labelled test split.
    """
    config = DataConfig.for_evaluation(pretraining, overrides, input_size=input_size)
    train_set, test_set = labelled_splits(config)
    if words := transfer_words(transfer_on_record(pretraining, config, train_set)):
        say(f"Transfer: {words}")
    return train_set, test_set


def labelled_splits(config: DataConfig) -> tuple[ImageSet, ImageSet]:
    """Load the train and test split that ``config`` names. It raises what `load_labelled` does."""
    train_set, test_set = load_split(config, "train"), load_split(config, "test")
    if train_set is None or test_set is None:
        raise UserError(
            f"data.dataset={config.dataset} has no test split here; name one with "
            "data.val_path=PATH."
        )
    return train_set, test_set


def check_labelled(train_set: ImageSet, test_set: ImageSet) -> None:
    """Refuse sets on which an encoder cannot be judged.

    Raises:
        UserError: a set is empty, unlabelled, or of one class, or the two have different classes.
    """
    for image_set in (train_set, test_set):
        if len(image_set) == 0:
            raise UserError(f"{image_set.name} holds no image; check the data path.")
        if not image_set.labelled:
            raise UserError(
                f"{image_set.name} has images without label, and an evaluation needs labels: "
                "choose a labelled set (data.no_labels=false)."
            )
    if train_set.classes != test_set.classes or train_set.num_classes < test_set.num_classes:
        raise UserError(
            f"{train_set.name} ({train_set.num_classes} classes) and {test_set.name} "
            f"({test_set.num_classes} classes) have different classes, so their labels mean "
            "different things. Give the train and test split of one data set."
        )
    for image_set in (train_set, test_set):
        held = image_set.labels.unique().tolist()
        if len(held) == 1:
            name = image_set.classes[held[0]] if image_set.classes else held[0]
            raise UserError(
                f"All {len(image_set):,} images of {image_set.name} are of the class '{name}', so "
                "an accuracy on them says nothing: give images of at least two classes."
            )
