"""How far a measured accuracy may be from the accuracy on more such images."""

from math import sqrt

DEVIATIONS_OF_95_PERCENT = 1.959964


def standard_error(accuracy: float, total: int) -> float:
    """Binomial standard error of an accuracy (a fraction) measured on ``total`` images."""
    return sqrt(accuracy * (1 - accuracy) / total)


def wilson(
    accuracy: float, total: int, deviations: float = DEVIATIONS_OF_95_PERCENT
) -> tuple[float, float]:
    """Wilson's score interval of an accuracy, which also holds near 0 and 1 and for few images.

    Args:
        accuracy: the share of images that are right.
        total: how many images were judged.
        deviations: half the width in standard deviations of a normal distribution; the default
            makes the interval contain the truth 95 times of 100.

    Returns:
        The lowest and the highest accuracy, as fractions.
    """
    square = deviations**2
    middle = (accuracy + square / (2 * total)) / (1 + square / total)
    inside = accuracy * (1 - accuracy) / total + square / (4 * total**2)
    half = deviations * sqrt(inside) / (1 + square / total)
    # Rounding must not take the measured accuracy itself out of the interval.
    return max(0.0, min(accuracy, middle - half)), min(1.0, max(accuracy, middle + half))


def in_words(interval: tuple[float, float]) -> str:
    """An interval of fractions as text in percent, such as ``67.09 to 72.76``."""
    return " to ".join(f"{100 * bound:.2f}" for bound in interval)


def margin(before: tuple[float, int], now: tuple[float, int], deviations: float) -> float:
    """How far a second accuracy may be from a first one of the same model by chance.

    This is Newcombe's interval of a difference (method 10 of Statistics in Medicine 17, 873-890,
    1998), which is made of both Wilson intervals, on the side on which the second accuracy lies.

    Args:
        before: the first accuracy, and its number of images.
        now: the second one.
        deviations: as for :func:`wilson`.
    """
    (low, high), (low_now, high_now) = (wilson(*one, deviations) for one in (before, now))
    if now[0] < before[0]:
        return sqrt((before[0] - low) ** 2 + (high_now - now[0]) ** 2)
    return sqrt((high - before[0]) ** 2 + (now[0] - low_now) ** 2)
