"""How the strength of an attack changes over a training run."""

from collections.abc import Iterator
from dataclasses import dataclass

from solo_adv.support.checks import number, whole


@dataclass(frozen=True, kw_only=True)
class AttackSchedule:
    """Keys of the ``adversary`` section that every adversary with a ball has. All are off at first.

    Attributes:
        ramp: share of the run over which epsilon and step size rise linearly from 0 to their
            values, in [0, 1].
        late_steps: number of additional steps of the attack before each update in the last part of
            the run.
        late_from: where this last part begins, as a share of the run in [0, 1].

    Raises:
        UserError: a value is out of its range.
    """

    ramp: float = 0.0
    late_steps: int = 0
    late_from: float = 0.667

    def __post_init__(self) -> None:
        number("adversary.ramp", self.ramp, most=1.0)
        whole("adversary.late_steps", self.late_steps, 0)
        number("adversary.late_from", self.late_from, most=1.0)

    def strength(self, progress: float) -> float:
        """The factor of epsilon and step size when the share ``progress`` of the run is done."""
        return min(1.0, progress / self.ramp) if self.ramp else 1.0

    def extra_steps(self, progress: float) -> int:
        """The additional steps when the share ``progress`` of the run is done."""
        return self.late_steps if progress >= self.late_from else 0

    def parts(self) -> Iterator[tuple[float, float]]:
        """The parts of a run in which an update costs the same.

        Yields:
            The length of a part as a share of the run, and the progress at which it begins.
        """
        if not self.late_steps or self.late_from in (0.0, 1.0):
            yield 1.0, 0.0
        else:
            yield self.late_from, 0.0
            yield 1.0 - self.late_from, self.late_from
