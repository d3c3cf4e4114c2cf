"""An encoder and its head as one network, and helpers that keep it in eval mode."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from solo_adv.adversaries import parameters_frozen
from solo_adv.support.errors import UserError


class Classifier(nn.Module):
    """An encoder followed by a head, from pixels (N, 3, H, W) in [0, 1] to logits (N, K).

    It puts both in eval mode and stays there: ``train()`` does not switch batch statistics back on.
    (The reference code's AutoAttack predicts on batch statistics, so that every verdict depends
    on the rest of the batch. In a reproduction, this raised robust accuracy by 3 to 6 points.)

    Args:
        encoder: network from pixels (N, 3, H, W) in [0, 1] to features (N, D).
        head: network from features (N, D) to logits (N, K).
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
    """Predict the classes (N,) of images (N, 3, H, W).

    An image with non-finite logits gets class -1, which is never correct.
    """
    return class_of(classifier(images))


def class_of(logits: Tensor) -> Tensor:
    """The predicted class of each row of logits (N, K), long (N,); -1 if one is not finite."""
    return logits.argmax(dim=1).masked_fill(~logits.isfinite().all(dim=1), -1)


def require_eval(model: nn.Module) -> None:
    """Refuse to judge a model of which any part is in training mode.

    Raises:
        UserError: a part is in training mode; the message names the first one.
    """
    for name, module in model.named_modules():
        if module.training:
            raise UserError(
                f"{name or type(model).__name__} ({type(module).__name__}) is in training mode, so "
                "predictions would depend on the other images of the batch. Call .eval() first."
            )


@contextmanager
def frozen(model: nn.Module) -> Iterator[None]:
    """Context in which ``model`` is in eval mode and no parameter requires a gradient.

    Every flag is reset afterwards.
    """
    modes = [(module, module.training) for module in model.modules()]
    try:
        for module, _ in modes:
            module.training = False
        with parameters_frozen(model):
            yield
    finally:
        for module, was_training in modes:
            module.training = was_training
