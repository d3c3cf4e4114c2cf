"""Remarks on figures that are measured as they say, but that another measurement would lower."""

from math import sqrt

from solo_adv.evaluation.attacks.losses import LOSSES, USUAL_LOSS
from solo_adv.evaluation.trust.alarms import DEVIATIONS
from solo_adv.evaluation.trust.probes import Probes
from solo_adv.report.words import LOSS_WORDS


def other_loss_breaks_more(probes: Probes, loss: str) -> str | None:
    """A remark if PGD on the other loss breaks more images than on the one that was ascended.

    This is usual for heads that were trained on attacked images: their logits are small, and where
    the softmax is flat, the cross-entropy rises by a push towards all other classes at once.

    Args:
        probes: what was measured on a few images.
        loss: the loss that PGD ascended, a key of ``LOSSES``.
    """
    repaired, broken = probes.repaired_by_margin, probes.broken_by_margin
    left = {"cross_entropy": probes.steps_correct, "margin": probes.margin_correct}
    gain = (broken - repaired) * (1 if loss == USUAL_LOSS else -1)
    if gain <= DEVIATIONS * sqrt(repaired + broken):
        return None
    (other,) = set(LOSSES) - {loss}
    return (
        f"An upper bound. PGD-{probes.steps} at {probes.epsilon_text} on {LOSS_WORDS[loss]}, as "
        f"here, leaves {left[loss]} of {probes.images} probed images right, and {left[other]} on "
        f"{LOSS_WORDS[other]}. attack_loss=both takes the worst case, and autoattack=true is "
        "stronger still."
    )
