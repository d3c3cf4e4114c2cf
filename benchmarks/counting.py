"""Counts the images that a network processes."""

from typing import Any

import torch
from torch import Tensor, nn


class Counting(nn.Module):
    """A classifier that counts the images passed forward and backward through it.

    Attributes:
        forward_images: Number of images in all forward passes.
        backward_images: Number of images in all backward passes.
        calls: Number of forward passes, whatever their batch size.
    """

    def __init__(self, classifier: nn.Module) -> None:
        super().__init__()
        self.classifier = classifier
        self.train(classifier.training)
        self.restart()

    def restart(self) -> None:
        """Count from zero."""
        self.forward_images = self.backward_images = self.calls = 0

    @property
    def counts(self) -> dict[str, int]:
        """The counts for a result file; ``passes`` is the sum of both directions."""
        return {
            "forward_images": self.forward_images,
            "backward_images": self.backward_images,
            "passes": self.forward_images + self.backward_images,
            "calls": self.calls,
        }

    def forward(self, images: Tensor) -> Tensor:
        self.forward_images += len(images)
        self.calls += 1
        logits: Tensor = self.classifier(images)
        if logits.requires_grad and torch.is_grad_enabled():
            logits.register_hook(self._backward)
        return logits

    def _backward(self, gradient: Tensor) -> Any:
        self.backward_images += len(gradient)
