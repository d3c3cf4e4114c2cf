"""Export to torchvision: a state dict, and a module that builds the network without solo_adv."""

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import torchvision
from safetensors.torch import save_file
from torch import nn

from solo_adv.catalogue.entry import Entry
from solo_adv.zoo.export.backbone import backbone_of, require_resnet, with_cifar_stem
from solo_adv.zoo.export.check import require_equal
from solo_adv.zoo.export.resnet import embed

_PADDING = {"cifar": 1, "cifar_padding2": 2}


def write(entry: Entry, directory: Path, head: str | None) -> None:
    """Write ``model.safetensors`` and ``model.py``, whose ``load()`` returns the backbone.

    Raises:
        UserError: torchvision cannot build the network.
    """
    require_resnet(entry, "torchvision")
    encoder, state = backbone_of(entry)
    stem = entry.backbone["stem"]
    embedded = embed(state, resnet(entry.backbone["name"], stem), "torchvision")
    save_file({k: v.contiguous() for k, v in embedded.items()}, directory / "model.safetensors")
    (directory / "model.py").write_text(_module(entry), encoding="utf-8")
    spec = spec_from_file_location("exported_model", directory / "model.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    require_equal(encoder, module.load(), entry.image_size)


def resnet(name: str, stem: str) -> nn.Module:
    """Build torchvision's ResNet with this stem and without classifier."""
    network: nn.Module = getattr(torchvision.models, name)()
    network.fc = nn.Identity()
    return network if stem == "imagenet" else with_cifar_stem(network, _PADDING[stem])


def _module(entry: Entry) -> str:
    stem = entry.backbone["stem"]
    lines = ""
    if stem != "imagenet":
        lines = (
            f"    network.conv1 = nn.Conv2d(3, 64, 3, stride=1, padding={_PADDING[stem]}, "
            "bias=False)\n    network.maxpool = nn.Identity()\n"
        )
    dims, size = entry.feature_dims["backbone"], entry.image_size
    return f'''"""The backbone of {entry.name}. It only needs torchvision and safetensors."""

from pathlib import Path

import torch
import torchvision
from safetensors.torch import load_file
from torch import nn


class Backbone(nn.Module):
    """Maps pixels (N, 3, {size}, {size}) in [0, 1] to features; only the first {dims} are not 0."""

    def __init__(self, network):
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.tensor({entry.mean}).view(3, 1, 1))
        self.register_buffer("std", torch.tensor({entry.std}).view(3, 1, 1))

    def forward(self, pixels):
        return self.network((pixels - self.mean) / self.std)


def load(folder=Path(__file__).parent):
    network = torchvision.models.{entry.backbone["name"]}()
    network.fc = nn.Identity()
{lines}    network.load_state_dict(load_file(Path(folder) / "model.safetensors"))
    return Backbone(network).eval()
'''
