"""An encoder and its head as one network from pixels to logits, and the state it must be in."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from solo_adv.adversaries import parameters_frozen
from solo_adv.support.errors import UserError


class Classifier(nn.Module):
    """Encoder, then head: from pixels (N, 3, H, W) in [0, 1] to logits (N, K).

    Puts both in eval mode and stays there: ``train()`` does not switch batch statistics back on.
    (The reference code's AutoAttack predicts on batch statistics, so that every verdict depends
    on the rest of the batch; reproduced, it flatters robust accuracy by 3 to 6 points.)
    """

    def __init__(self, encoder: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = head
        self.eval()

    def train(self, mode: bool = True) -> "Classifier":
        super().train(False)
        return self

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.encoder(images))
        return logits


@torch.no_grad()
def predict(classifier: nn.Module, images: Tensor) -> Tensor:
    """Predicted classes (N,) of images (N, 3, H, W); -1 (never right) for non-finite logits."""
    logits = classifier(images)
    return logits.argmax(dim=1).masked_fill(~logits.isfinite().all(dim=1), -1)


def require_eval(model: nn.Module) -> None:
    """Refuse to judge a model of which any part is in training mode.

    Raises:
        UserError: some module is; the message names the first.
    """
    for name, module in model.named_modules():
        if module.training:
            raise UserError(
                f"{name or type(model).__name__} ({type(module).__name__}) is in training mode, so "
                "predictions would depend on the other images of the batch. Call .eval() first."
            )


@contextmanager
def frozen(model: nn.Module) -> Iterator[None]:
    """Eval mode and no parameter gradients inside; every flag is as it was afterwards."""
    modes = [(module, module.training) for module in model.modules()]
    try:
        for module, _ in modes:
            module.training = False
        with parameters_frozen(model):
            yield
    finally:
        for module, was_training in modes:
            module.training = was_training
