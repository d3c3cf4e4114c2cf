"""Collects batches whose gradients are averaged before the weights are updated."""

from collections.abc import Iterator, Sequence
from typing import Any, Generic, TypeVar

from solo_adv.adversaries import Adversary

T = TypeVar("T")


class Accumulation(Generic[T]):
    """Holds the batches of the next update, and an adversary's state for each place among them.

    A free adversary carries its perturbation from batch to batch. With several batches to an
    update, each of them has a perturbation of its own, as if they were one batch.

    Args:
        batches: number of batches to an update.
        adversary: the adversary, whose state is swapped when a place's turn comes.
    """

    def __init__(self, batches: int, adversary: Adversary) -> None:
        self.batches = batches
        self.adversary = adversary
        self.held: list[T] = []
        self._states = [adversary.state_dict() for _ in range(batches)]

    def over(self, batches: Sequence[T]) -> Iterator[tuple[int, T]]:
        """Batches of an update with their places, each with the adversary in its place's state."""
        for place, batch in enumerate(batches):
            if self.batches > 1:
                self.adversary.load_state_dict(self._states[place])
            yield place, batch
            if self.batches > 1:
                self._states[place] = self.adversary.state_dict()

    def state_dict(self) -> dict[str, Any]:
        """The adversary's state, or its states if there are several places."""
        if self.batches == 1:
            return self.adversary.state_dict()
        return {"places": list(self._states)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state that :meth:`state_dict` returned."""
        if self.batches == 1:
            self.adversary.load_state_dict(state)
        else:
            self._states = list(state["places"])
