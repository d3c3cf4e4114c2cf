"""Random numbers for a batch of images, each of which has a generator of its own."""

from collections.abc import Callable, Sequence

import numpy as np

Shape = tuple[int, ...]


class Draws:
    """Draws random numbers for N images.

    Every image has its own generator, so that the numbers do not depend on how images are put
    together in batches. Everything that is drawn has the shape (N, *shape).

    Args:
        generators: the generators of the N images.
    """

    def __init__(self, generators: Sequence[np.random.Generator]) -> None:
        self.generators = generators

    @classmethod
    def of(cls, places: Sequence[int], *seeds: int) -> "Draws":
        """The generators of the images at ``places``, which also depend on ``seeds``."""
        return cls([np.random.default_rng([*seeds, place]) for place in places])

    def normal(self, mean: float, deviation: float, shape: Shape) -> np.ndarray:
        """Normal numbers (N, *shape)."""
        return self._each(lambda generator: generator.normal(mean, deviation, shape))

    def uniform(self, low: float, high: float, shape: Shape = ()) -> np.ndarray:
        """Numbers (N, *shape), uniform between ``low`` and ``high``."""
        return self._each(lambda generator: generator.uniform(low, high, shape))

    def integers(self, low: int, high: int, shape: Shape) -> np.ndarray:
        """Whole numbers from ``low`` to ``high - 1``."""
        return self._each(lambda generator: generator.integers(low, high, shape))

    def poisson(self, means: np.ndarray) -> np.ndarray:
        """Poisson numbers with the given means (N, ...)."""
        pairs = zip(self.generators, means, strict=True)
        return np.stack([generator.poisson(of_one) for generator, of_one in pairs])

    def _each(self, draw: Callable[[np.random.Generator], np.ndarray]) -> np.ndarray:
        return np.stack([draw(generator) for generator in self.generators])
