"""Crops as a method's adversary perturbs them."""

import torch
from torch import Tensor

from solo_adv.methods.adversarial import AdversarialMethod


def perturbed(method: AdversarialMethod, crops: Tensor, targets: Tensor) -> Tensor | None:
    """Perturb crops as at the end of one training batch, without updating the weights.

    Args:
        method: The method, in training mode.
        crops: Crops (V*B, 3, h, w), view-major, in [0, 1].
        targets: Labels of the images, (B,).

    Returns:
        The perturbed crops; None if the method has no adversary.
    """
    batch = method.batch_of(crops, targets)
    for _ in range(method.adversary.replays):
        delta = method.perturb(batch)
        if delta is None:
            return None
        if delta.requires_grad:
            method.objective(method.updated(batch, delta)[1]).total.backward()
        method.adversary.update(batch.attacked, delta)
    assert delta is not None
    # Free training begins its next replay with the delta that it carries; PGD crafts a new one.
    if delta.requires_grad:
        delta = method.perturb(batch)
        assert delta is not None
    with torch.no_grad():
        return torch.cat([batch.clean, batch.attacked + delta])
