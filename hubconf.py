"""Entry points of ``torch.hub``: ``torch.hub.load(REPOSITORY, "encoder", name=NAME)``."""

from typing import Any

from torch import nn

dependencies = ["torch", "torchvision", "timm", "safetensors", "omegaconf", "scipy"]


def encoder(name: str, **settings: Any) -> nn.Module:
    """A pretrained encoder from pixels (N, 3, H, W) in [0, 1] to features (N, D).

    Args:
        name: what ``solo_adv.load_pretrained`` takes: a name of the zoo, ``hf://OWNER/NAME``,
            ``timm:NAME``, or the path of a checkpoint.
        settings: its further arguments, such as ``features="backbone"``.
    """
    from solo_adv import load_pretrained  # noqa: PLC0415  torch.hub checks the dependencies first

    return load_pretrained(name, **settings)


def classifier(name: str, head: str = "robust_linear") -> nn.Module:
    """A model of the zoo with its head, from pixels (N, 3, H, W) in [0, 1] to logits (N, K).

    Args:
        name: a name of the zoo or ``hf://OWNER/NAME``.
        head: ``linear``, ``robust_linear`` or another that the model has.
    """
    from solo_adv import load_pretrained  # noqa: PLC0415  torch.hub checks the dependencies first

    return load_pretrained(name, head=head)
