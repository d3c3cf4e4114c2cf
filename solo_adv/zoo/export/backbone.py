"""Functions shared by the exports of a plain backbone."""

from typing import Any

from torch import Tensor, nn

from solo_adv.catalogue.entry import Entry
from solo_adv.catalogue.loading import load_encoder
from solo_adv.encoders.encoder import Encoder
from solo_adv.support.errors import UserError
from solo_adv.zoo.export.resnet import KWARGS

RESNETS = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")
"""The ResNets that timm, torchvision and solo-learn have under the same name."""


def backbone_of(entry: Entry) -> tuple[Encoder, dict[str, Tensor]]:
    """The encoder that returns backbone features, and its backbone's weights.

    Raises:
        UserError: The network has a stem that only this package builds.
    """
    if entry.backbone["stem"] == "cifar_linear":
        raise UserError(
            f"The stem of {entry.name} has no ReLU (cifar_linear), which other packages cannot "
            "express. Export it to onnx or hf."
        )
    encoder = load_encoder(entry, "backbone")
    return encoder, dict(encoder.backbone.state_dict())


def require_resnet(entry: Entry, target: str) -> None:
    """Refuse networks that ``target`` cannot build.

    Raises:
        UserError: The network is none of :data:`RESNETS`, or has settings that only timm knows.
    """
    name, kwargs = entry.backbone["name"], entry.backbone["kwargs"]
    if name not in RESNETS:
        raise UserError(
            f"{target} cannot express {name}, only {', '.join(RESNETS)}. Export other networks to "
            "timm, onnx or hf."
        )
    foreign = sorted(set(kwargs) - set(KWARGS))
    if foreign:
        raise UserError(f"{target} cannot express {name} with {foreign[0]}={kwargs[foreign[0]]}.")


def with_cifar_stem(network: nn.Module, padding: int) -> nn.Module:
    """Give torchvision's ResNet the 3x3 stem and remove its pooling."""
    resnet: Any = network
    width = resnet.conv1.out_channels
    resnet.conv1 = nn.Conv2d(3, width, kernel_size=3, stride=1, padding=padding, bias=False)
    resnet.maxpool = nn.Identity()
    return network
