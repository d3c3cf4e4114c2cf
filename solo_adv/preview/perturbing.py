"""Crops as the adversary of a method would present them to it."""

import torch
from torch import Tensor

from solo_adv.methods.adversarial import AdversarialMethod
from solo_adv.methods.attacked_views import join


def perturbed(method: AdversarialMethod, crops: Tensor, targets: Tensor) -> Tensor | None:
    """The crops at the end of one batch of training, with the weights left as they are.

    Args:
        method: in training mode.
        crops: (V*B, 3, h, w), view-major, in [0, 1].
        targets: of the images (B,).

    Returns:
        The perturbed crops; None if the method has no adversary.
    """
    clean, attacked = method.attacked_views.split(crops, len(targets))
    for _ in range(method.adversary.replays):
        delta = method.perturb(clean, attacked, targets)
        if delta is None:
            return None
        if delta.requires_grad:
            out = method.outputs_of(join(clean, attacked + delta))
            method.loss_of(out["z"], targets).total.backward()
        method.adversary.update(attacked, delta)
    # What free training would begin the next replay with; an attack of several steps begins anew.
    if method.adversary.crafting_passes == 0:
        delta = method.perturb(clean, attacked, targets)
    assert delta is not None
    with torch.no_grad():
        return join(clean, attacked + delta)
