"""Export to timm: a checkpoint and the arguments of ``create_model`` that compute the same.

timm's ResNet has no stem of stride 1. Its 7x7 stem has stride 2, and a convolution in place of the
pooling (``replace_stem_pool``) has stride 2 as well. If the image is enlarged four times (nearest
neighbour), these two can be given weights that read exactly the pixels of our 3x3 stem, and their
output equals ours.
"""

import json
from pathlib import Path
from typing import Any

import timm
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

from solo_adv.catalogue.entry import Entry
from solo_adv.support.errors import UserError
from solo_adv.zoo.export.backbone import backbone_of, require_resnet
from solo_adv.zoo.export.check import require_equal
from solo_adv.zoo.export.resnet import embed, identity_norm

_ENLARGED = 4
# Rows and columns of the 7x7 kernel that read the previous pixel, the pixel itself and the next
# one, at the odd positions of its output, which the second convolution selects.
_BEFORE_AT_AFTER = [0, 3, 5]
_ODD = 2


def write(entry: Entry, directory: Path, head: str | None) -> None:
    """Write ``model.safetensors``, ``create_model.json`` and a page that says how to use them.

    Raises:
        UserError: timm cannot build the network.
    """
    encoder, state = backbone_of(entry)
    if entry.backbone["name"].startswith("resnet"):
        arguments, state = _resnet(entry, state)
    else:
        arguments = _arguments(entry)
    enlarged = _ENLARGED if entry.backbone["stem"].startswith("cifar") else 1
    recipe = {
        "model_name": entry.backbone["name"],
        "arguments": arguments,
        "mean": entry.mean,
        "std": entry.std,
        "pad": 1 if entry.backbone["stem"] == "cifar_padding2" else 0,
        "enlarge": enlarged,
    }
    file = directory / "model.safetensors"
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, file)
    (directory / "create_model.json").write_text(
        json.dumps(recipe, indent=2) + "\n", encoding="utf-8"
    )
    (directory / "README.md").write_text(_page(entry, recipe), encoding="utf-8")
    network = timm.create_model(recipe["model_name"], checkpoint_path=str(file), **arguments).eval()
    require_equal(encoder, lambda pixels: network(prepared(pixels, recipe)), entry.image_size)


def prepared(pixels: Tensor, recipe: dict[str, Any]) -> Tensor:
    """Convert pixels (N, 3, H, W) in [0, 1] to the exported network's input."""
    mean, std = (torch.tensor(recipe[key]).view(3, 1, 1) for key in ("mean", "std"))
    padded = F.pad((pixels - mean) / std, [recipe["pad"]] * 4)
    return F.interpolate(padded, scale_factor=recipe["enlarge"], mode="nearest")


def _resnet(entry: Entry, state: dict[str, Tensor]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    require_resnet(entry, "timm")
    name, kwargs = entry.backbone["name"], entry.backbone["kwargs"]
    arguments: dict[str, Any] = {"num_classes": 0}
    if "width" in kwargs:
        arguments["channels"] = [kwargs["width"] * 2**stage for stage in range(4)]
    if "layers" in kwargs:
        arguments["layers"] = kwargs["layers"]
    if entry.backbone["stem"] == "imagenet":
        return arguments, embed(state, timm.create_model(name, **arguments), "timm")
    arguments["replace_stem_pool"] = True
    template: Any = timm.create_model(name, **arguments)
    pool: nn.Module = template.maxpool
    template.maxpool = nn.Identity()
    state = {**state, "conv1.weight": _spread(state["conv1.weight"])}
    return arguments, embed(state, template, "timm") | _picking(pool)


def _spread(kernel: Tensor) -> Tensor:
    """Convert a 3x3 kernel (C, 3, 3, 3) to a 7x7 one (C, 3, 7, 7) for the enlarged image."""
    spread = kernel.new_zeros(*kernel.shape[:2], 7, 7)
    places = torch.tensor(_BEFORE_AT_AFTER)
    spread[:, :, places[:, None], places] = kernel
    return spread


def _picking(pool: nn.Module) -> dict[str, Tensor]:
    """Weights of the convolution and batch norm after the stem that select every second pixel."""
    picking = {}
    for name, like in pool.state_dict().items():
        if like.dim() == 4:
            picking[f"maxpool.{name}"] = torch.zeros_like(like)
            picking[f"maxpool.{name}"][:, :, _ODD, _ODD] = torch.eye(len(like))
        else:
            norm = pool.get_submodule(name.rpartition(".")[0])
            picking[f"maxpool.{name}"] = identity_norm(name, like, norm)
    return picking


def _arguments(entry: Entry) -> dict[str, Any]:
    name, kwargs = entry.backbone["name"], entry.backbone["kwargs"]
    if not timm.is_model(name):
        raise UserError(f"timm has no model '{name}'; export to onnx or hf instead.")
    for sized in ({"img_size": entry.image_size}, {}):  # convolutional models have no fixed size
        arguments = {"num_classes": 0, **sized, **kwargs}
        try:
            timm.create_model(name, **arguments)
        except TypeError:
            continue
        return arguments
    raise UserError(f"timm cannot build {name} with {kwargs}.")


def _page(entry: Entry, recipe: dict[str, Any]) -> str:
    arguments = ", ".join(f"{key}={value!r}" for key, value in recipe["arguments"].items())
    lines = [
        "import timm, torch, torch.nn.functional as F",
        f'network = timm.create_model("{recipe["model_name"]}", '
        f'checkpoint_path="model.safetensors", {arguments}).eval()',
        f"x = torch.rand(8, 3, {entry.image_size}, {entry.image_size})  # pixels in [0, 1]",
        f"mean, std = torch.tensor({entry.mean}), torch.tensor({entry.std})",
        "x = (x - mean.view(3, 1, 1)) / std.view(3, 1, 1)",
        f"x = F.pad(x, [{recipe['pad']}] * 4)",
        f'x = F.interpolate(x, scale_factor={recipe["enlarge"]}, mode="nearest")',
        f"features = network(x)  # (8, {entry.feature_dims['backbone']})",
    ]
    note = (
        "\ntimm's ResNet has no stem of stride 1, so the image is enlarged four times (nearest "
        "neighbour);\nthe stem's weights read exactly the original pixels. Outputs are equal to "
        "1e-5. For fine-tuning,\nload the model with solo_adv, because here the added layers would "
        "be trained, too.\n"
    )
    code = "\n".join(lines)
    extra = note if recipe["enlarge"] > 1 else ""
    return f"# {entry.name} for timm: the backbone\n\n```python\n{code}\n```\n{extra}"
