"""How the images of each class were classified: counts that stand beside a measurement."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

MOST_MISTAKES = 100
"""How many kinds of mistakes are kept at most. With ten classes, these are all."""
NONE = "none"
"""What an image is seen as whose scores are not finite."""


@dataclass(frozen=True, kw_only=True)
class Classes:
    """Counts of images by class, in the order of the labels."""

    total: tuple[int, ...]
    """How many images of each class were judged."""
    correct: tuple[int, ...]
    """How many of them were classified correctly."""
    mistakes: Mapping[str, int] = field(default_factory=dict)
    """The commonest mistakes: ``"3 as 5"`` for images of class 3 that were seen as class 5, with
    their number. Empty if it is not known what wrong images were seen as."""

    @classmethod
    def from_dict(cls, held: Mapping[str, Any]) -> "Classes":
        """Read the counts from a report."""
        return cls(
            total=tuple(held["total"]),
            correct=tuple(held["correct"]),
            mistakes=dict(held["mistakes"]),
        )

    @classmethod
    def counted(
        cls,
        labels: Sequence[int],
        right: Iterable[bool],
        seen: Iterable[int] | None = None,
        *,
        num_classes: int,
    ) -> "Classes":
        """Count images.

        Args:
            labels: the class of each image.
            right: whether it was classified correctly.
            seen: the class that it was seen as, -1 for none; None if that is not known.
            num_classes: number of classes.
        """
        right = list(right)
        total, correct = (
            Counter(labels),
            Counter(label for label, hit in zip(labels, right, strict=True) if hit),
        )
        mistakes: Counter[str] = Counter()
        if seen is not None:
            mistakes.update(
                f"{label} as {NONE if other < 0 else other}"
                for label, hit, other in zip(labels, right, seen, strict=True)
                if not hit and label != other
            )
        return cls(
            total=tuple(total[label] for label in range(num_classes)),
            correct=tuple(correct[label] for label in range(num_classes)),
            mistakes=dict(mistakes.most_common(MOST_MISTAKES)),
        )

    @property
    def accuracies(self) -> list[float | None]:
        """The accuracy on each class as a fraction; None for a class without images."""
        pairs = zip(self.correct, self.total, strict=True)
        return [correct / total if total else None for correct, total in pairs]

    @property
    def complete(self) -> bool:
        """Whether every wrong image is among the mistakes."""
        return sum(self.total) - sum(self.correct) == sum(self.mistakes.values())

    def confused(self) -> list[tuple[int, int | None, int]]:
        """The mistakes as numbers: the true class, the class seen (None for none), how many."""
        found = []
        for pair, count in self.mistakes.items():
            truth, _, seen = pair.partition(" as ")
            found.append((int(truth), None if seen == NONE else int(seen), count))
        return found
