"""Export to solo-learn: ``args.json`` and a ``.ckpt`` for its unmodified ``main_linear.py``.

solo-learn rebuilds the network from the data set's name. For CIFAR it builds a 3x3 stem with
padding 2 (ours has 1) on images normalised by its own statistics. The export folds the statistics
into the first layer. This is exact except at the border, because solo-learn's zero padding is the
mean colour and ours is black; an export cannot change the padding.
"""

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from solo_adv.catalogue.entry import Entry
from solo_adv.encoders import solo_config
from solo_adv.encoders.loading import encoder_from
from solo_adv.support.errors import UserError
from solo_adv.zoo.export.backbone import backbone_of, require_resnet
from solo_adv.zoo.export.check import require_equal
from solo_adv.zoo.export.resnet import embed
from solo_adv.zoo.export.torchvision import resnet


def write(entry: Entry, directory: Path, head: str | None) -> None:
    """Write ``args.json``, ``NAME-ep=N.ckpt`` and a page that says what differs.

    Raises:
        UserError: solo-learn cannot build the network.
    """
    require_resnet(entry, "solo-learn")
    encoder, state = backbone_of(entry)
    args = _args(entry)
    stem = solo_config.stem(args)
    if ("cifar" in stem) != ("cifar" in entry.backbone["stem"]):
        raise UserError(
            f"solo-learn cannot express {entry.name}: for data.dataset={entry.dataset} it builds "
            f"the {stem} stem, and this encoder has the {entry.backbone['stem']} stem."
        )
    mean, std = solo_config.statistics(args)
    folded = fold(state, _tensor(entry.mean), _tensor(entry.std), _tensor(mean), _tensor(std))
    network = resnet(entry.backbone["name"], stem)
    backbone = embed(folded, network, "solo-learn")
    checkpoint = {"state_dict": {f"backbone.{name}": value for name, value in backbone.items()}}
    epoch = entry.training["config"]["max_epochs"] - 1
    torch.save(checkpoint, directory / f"{entry.name}-ep={epoch}.ckpt")
    (directory / "args.json").write_text(json.dumps(args, indent=2) + "\n", encoding="utf-8")
    differences = _differences(entry, stem, mean, std)
    (directory / "README.md").write_text(_page(entry, epoch, differences), encoding="utf-8")
    if not differences:
        require_equal(encoder, encoder_from(directory), entry.image_size)


def fold(
    state: dict[str, Tensor], mean: Tensor, std: Tensor, host_mean: Tensor, host_std: Tensor
) -> dict[str, Tensor]:
    """Convert weights to images normalised by the host's statistics instead of our own.

    ``(x - mean) / std`` is linear in ``(x - host_mean) / host_std``. The factor goes into the first
    convolution and the constant into the batch norm after it.
    """
    kernel = state["conv1.weight"]
    factor, constant = host_std / std, (host_mean - mean) / std
    shift = torch.einsum("oikl,i->o", kernel, constant)
    return state | {
        "conv1.weight": kernel * factor.view(1, 3, 1, 1),
        "bn1.running_mean": state["bn1.running_mean"] - shift,
    }


def _args(entry: Entry) -> dict[str, Any]:
    config = entry.training["config"]
    data = {k: v for k, v in config["data"].items() if k not in ("mean", "std")}
    view = {"crop_size": entry.image_size, "num_crops": config["crops"].get("num_crops", 2)}
    return {
        **config,
        # A narrower or shallower network is embedded in the standard one.
        "backbone": {"name": entry.backbone["name"], "kwargs": {}},
        "data": {**data, "num_classes": entry.classes},
        "augmentations": [view],
        "pretrained_from": {"solo_adv": entry.name, "backbone": entry.backbone},
    }


def _differences(entry: Entry, stem: str, mean: list[float], std: list[float]) -> list[str]:
    differences = []
    if stem != entry.backbone["stem"]:
        differences.append(
            f"its stem is {stem} (feature maps two pixels larger), the encoder's is "
            f"{entry.backbone['stem']}"
        )
    if (mean, std) != (entry.mean, entry.std):
        differences.append(
            f"it normalises images by mean {mean} and std {std}, which is folded into the first "
            "layer: exact except at the border, where the padding is the mean colour"
        )
    return differences


def _page(entry: Entry, epoch: int, differences: list[str]) -> str:
    stated = "".join(f"- {text};\n" for text in differences) or "- nothing: outputs are equal.\n"
    dims = entry.feature_dims["backbone"]
    return f"""# {entry.name} for solo-learn: the backbone

```
python main_linear.py ... backbone.name={entry.backbone["name"]} data.dataset={entry.dataset} \\
    pretrained_feature_extractor={entry.name}-ep={epoch}.ckpt
```

The encoder is embedded in the standard network, so only the first {dims} features are not 0.
Under solo-learn these things differ from the original:

{stated}"""


def _tensor(values: list[float]) -> Tensor:
    return torch.tensor(values)
