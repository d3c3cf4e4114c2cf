"""The outcome of an evaluation in two figures and a sentence."""

from collections.abc import Iterable
from dataclasses import dataclass

from solo_adv.adversaries import AUTO, NORMS, Ball
from solo_adv.report.measurement import AUTOATTACK, CLEAN, Measurement
from solo_adv.report.record import Report


@dataclass(frozen=True)
class Verdict:
    """What a report says first."""

    clean: Measurement
    robust: Measurement | None
    """The measurement of the strongest attack at the usual radius or, if that was not attacked, at
    the nearest radius; None if nothing attacked."""
    sentence: str


def verdict(report: Report) -> Verdict:
    """Sum a report up."""
    clean = report.by_label[CLEAN]
    robust = strongest(report)
    sentence = f"Of 100 test images, {_count(clean)} are classified correctly"
    if robust is None or robust.ball is None:
        return Verdict(clean, None, f"{sentence}. Nothing attacked them.")
    what = "each of their crops" if _crops_attacked(report) else "the image"
    may = NORMS[robust.ball.norm].words(what).replace("epsilon", robust.radius)
    sentence += f", and {_count(robust)} if {robust.name} may change {may}."
    if robust.name != AUTOATTACK:
        sentence += f" {AUTOATTACK} did not judge them at this radius; it usually leaves fewer."
    return Verdict(clean, robust, sentence)


def strongest(report: Report, *, among: Iterable[Measurement] | None = None) -> Measurement | None:
    """The attack at the radius nearest the usual one that leaves the fewest images correct.

    Args:
        report: the report. Attacks in other norms than that of its settings do not count.
        among: the measurements to choose from; None chooses from all.

    Returns:
        The measurement; None if nothing attacked.
    """
    norm = report.config["norm"]
    usual = Ball(norm, AUTO).epsilon
    chosen = report.measurements if among is None else among
    attacks = [m for m in chosen if m.ball is not None and m.ball.norm == norm]
    if not attacks:
        return None
    nearest = min((m.epsilon for m in attacks), key=lambda epsilon: abs(epsilon - usual))
    there = [m for m in attacks if m.epsilon == nearest]
    return min(there, key=lambda m: (m.accuracy, m.name != AUTOATTACK))


def _crops_attacked(report: Report) -> bool:
    return bool(report.config["protocol"] == "crops" and report.config["space"] == "crop")


def _count(measurement: Measurement) -> str:
    return f"{100 * measurement.accuracy:.3g}"
