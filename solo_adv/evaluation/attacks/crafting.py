"""How the passes of an attack are computed. Verdicts are always computed in float32."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from solo_adv.encoders.folding import folded
from solo_adv.support.checks import choice, flag

PRECISIONS = ("32-true", "bf16-mixed")


@dataclass(frozen=True, kw_only=True)
class Crafting:
    """How the passes that look for a perturbation are computed.

    The classifier itself, in float32, judges the perturbations that they find. Rounding can
    therefore only make an attack weaker, and the accuracy under it is then an upper bound.

    Raises:
        UserError: a setting has a value that is not accepted.
    """

    precision: str = "32-true"
    """``32-true``, or ``bf16-mixed``, which computes under autocast to bfloat16."""
    compile: bool = False
    """Whether to use ``torch.compile``, which rounds differently."""
    fold: bool = True
    """Whether batch norms are folded into convolutions, which rounds differently."""

    def __post_init__(self) -> None:
        choice("precision", self.precision, PRECISIONS)
        flag("compile", self.compile)
        flag("fold", self.fold)

    def network(self, classifier: nn.Module, images: Tensor) -> nn.Module:
        """The network that an attack uses instead of ``classifier``.

        It returns the same float32 logits (N, K) up to rounding. It is ``classifier`` itself if
        nothing is to be folded or compiled and the precision is that of the verdicts.

        Args:
            classifier: network in eval mode, from pixels (N, 3, H, W) in [0, 1] to logits (N, K).
            images: some of the images, with which the folded network is checked.
        """
        network = folded(classifier, images) if self.fold else classifier
        network = _Autocast(network) if self.precision == "bf16-mixed" else network
        if self.compile:
            # A batch of another size compiles the network once more, then for any size.
            network = torch.compile(network)  # type: ignore[assignment]
        return network

    @property
    def note(self) -> str | None:
        """A remark that a reader of the result must know; None if there is nothing to say."""
        if self.precision == "32-true":
            return None
        return (
            "Perturbations were crafted in bfloat16 and judged in float32: in float32 the attack "
            "may find more, so the accuracy is an upper bound."
        )


IN_FLOAT32 = Crafting()
"""The default settings, with which reported figures are measured."""


class _Autocast(nn.Module):
    def __init__(self, classifier: nn.Module) -> None:
        super().__init__()
        self.classifier = classifier
        self.train(classifier.training)

    def forward(self, images: Tensor) -> Tensor:
        with torch.autocast(images.device.type, dtype=torch.bfloat16):
            logits: Tensor = self.classifier(images)
        return logits.float()
