"""How the passes of an attack are computed. Verdicts are computed in float32, whatever it says."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from solo_adv.support.checks import choice, flag

PRECISIONS = ("32-true", "bf16-mixed")


@dataclass(frozen=True, kw_only=True)
class Crafting:
    """Precision and compilation of the passes that look for a perturbation.

    What they find is judged by the classifier itself, in float32. So rounding can only make an
    attack weaker: the accuracy under it is then an upper bound, as that of any weaker attack.

    Raises:
        UserError: a setting is none of the accepted.
    """

    precision: str = "32-true"
    """``bf16-mixed``: under autocast to bfloat16."""
    compile: bool = False
    """Through ``torch.compile``; rounds differently than without."""

    def __post_init__(self) -> None:
        choice("precision", self.precision, PRECISIONS)
        flag("compile", self.compile)

    def network(self, classifier: nn.Module) -> nn.Module:
        """What an attack sees of ``classifier``: the same logits (N, K), float32, but for rounding.

        With the default settings the classifier itself.
        """
        network = _Autocast(classifier) if self.precision == "bf16-mixed" else classifier
        if self.compile:
            # Batches of another size compile once more, and then any size will do.
            network = torch.compile(network)  # type: ignore[assignment]
        return network

    @property
    def note(self) -> str | None:
        """What a reader of a result must know."""
        if self.precision == "32-true":
            return None
        return (
            "Perturbations were crafted in bfloat16 and judged in float32: in float32 the attack "
            "may find more, so the accuracy is an upper bound."
        )


IN_FLOAT32 = Crafting()
"""The default: what is reported."""


class _Autocast(nn.Module):
    def __init__(self, classifier: nn.Module) -> None:
        super().__init__()
        self.classifier = classifier
        self.train(classifier.training)

    def forward(self, images: Tensor) -> Tensor:
        with torch.autocast(images.device.type, dtype=torch.bfloat16):
            logits: Tensor = self.classifier(images)
        return logits.float()
