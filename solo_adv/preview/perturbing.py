"""Crops as the adversary of a method would present them to it."""

import torch
from torch import Tensor

from solo_adv.methods.adversarial import AdversarialMethod


def perturbed(method: AdversarialMethod, crops: Tensor, targets: Tensor) -> Tensor | None:
    """The crops at the end of one batch of training, with the weights left as they are.

    Args:
        method: in training mode.
        crops: (V*B, 3, h, w), view-major, in [0, 1].
        targets: of the images (B,).

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
    # What free training would begin the next replay with; an attack of several steps begins anew.
    if method.adversary.crafting_passes == 0:
        delta = method.perturb(batch)
    assert delta is not None
    with torch.no_grad():
        return torch.cat([batch.clean, batch.attacked + delta])
