"""The standard error of a measured accuracy."""

from math import sqrt


def standard_error(accuracy: float, total: int) -> float:
    """Binomial standard error of an accuracy (a fraction) measured on ``total`` images."""
    return sqrt(accuracy * (1 - accuracy) / total)
