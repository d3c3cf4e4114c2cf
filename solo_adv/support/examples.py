"""Checks of features and labels that users hand to Python calls. Each names the remedy."""

from torch import Tensor

from solo_adv.support.errors import UserError


def check_labels(labels: Tensor, count: int, what: str = "labels") -> None:
    """Refuse labels that are not one class number for each of ``count`` rows.

    Args:
        labels: what should be whole numbers (N,).
        count: N.
        what: what they are called, for the message.

    Raises:
        UserError: they have another shape, type or number.
    """
    shape = tuple(labels.shape)
    if labels.ndim == 2 and labels.shape[1] > 1:
        raise UserError(
            f"{what} must be class numbers of shape (N,); got {shape}. Give labels.argmax(dim=1) "
            "for one-hot labels."
        )
    if labels.ndim != 1:
        raise UserError(
            f"{what} must be class numbers of shape (N,); got {shape}. Give labels.flatten()."
        )
    if labels.is_floating_point() or labels.is_complex():
        raise UserError(
            f"{what} must be whole numbers; got {labels.dtype}. Give labels.long() for class "
            "numbers."
        )
    if len(labels) != count:
        raise UserError(f"There are {len(labels)} {what} for {count} rows; give one for each.")


def check_features(features: Tensor, labels: Tensor, which: str = "") -> None:
    """Refuse features that are not a vector for each label.

    Args:
        features: what should be floats (N, D).
        labels: their labels, what should be whole numbers (N,).
        which: which features they are, such as ``training``, for the message.

    Raises:
        UserError: they have another shape or type.
    """
    name = f"{which} features".strip()
    shape = tuple(features.shape)
    if features.ndim > 2 and all(side == 1 for side in shape[2:]):
        raise UserError(
            f"{name} must have the shape (N, D); got {shape}. Give features.flatten(1)."
        )
    if features.ndim != 2:
        raise UserError(
            f"{name} must have the shape (N, D); got {shape}. Pool maps first, as in "
            "features.mean(dim=(2, 3))."
        )
    if not features.is_floating_point():
        raise UserError(f"{name} must be floats; got {features.dtype}. Give features.float().")
    check_labels(labels, len(features), f"{which} labels".strip())
