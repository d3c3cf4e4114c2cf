"""Transfer: an encoder that was pretrained on one data set is judged on another."""

from collections.abc import Mapping
from typing import Any

from solo_adv.data.config import DataConfig
from solo_adv.data.image_set import ImageSet
from solo_adv.support.files import given_path


def transfer_on_record(
    pretraining: Mapping[str, Any], config: DataConfig, train_set: ImageSet
) -> dict[str, Any]:
    """What a report says about a transfer; empty if the encoder is judged on its own data set.

    Args:
        pretraining: ``data`` section of the pretraining config.
        config: the data on which the encoder is judged.
        train_set: its train split.
    """
    before, now = _name(pretraining), _name(vars(config))
    if before == now:
        return {}
    height, width = train_set[0][0].shape[1:]
    return {
        "transfer": {
            "pretrained_on": before,
            "judged_on": now,
            "stored_size": train_set.stored_size,
            "size": f"{width}x{height}",
        }
    }


def transfer_words(data: Mapping[str, Any]) -> str:
    """Say on what the encoder was pretrained, and on what it was judged; empty if on the same."""
    transfer = data.get("transfer")
    if transfer is None:
        return ""
    before = transfer["pretrained_on"] or "data that the checkpoint does not name"
    stored, size = transfer["stored_size"], transfer["size"]
    sizes = f"not resized ({size})" if stored == size else f"resized from {stored} to {size}"
    return f"pretrained on {before}, judged on {transfer['judged_on']}, {sizes}"


def _name(data: Mapping[str, Any]) -> str | None:
    """The data set's name, with its place if it has no name of its own; None if unknown."""
    name = data.get("dataset")
    if name == "custom":
        return f"custom ('{given_path(str(data.get('train_path'))).resolve()}')"
    return name
