"""Makes a small copy of a finished run, to be judged and published in its place."""

import json
from pathlib import Path

import torch
from torch import Tensor

from solo_adv.encoders.checkpoint import find_checkpoint, read_checkpoint
from solo_adv.support.errors import UserError
from solo_adv.support.files import given_path, write_checked, write_whole
from solo_adv.training.runs import CONFIG_FILE, check_ends_run, saved_config

STORED = torch.bfloat16
_ONLY_FOR_TRAINING = ("optimizer_states", "lr_schedulers", "callbacks")


def compact(run: str | Path, directory: str | Path, *, with_projector: bool = True) -> Path:
    """Copy the last checkpoint of a run, with weights that bfloat16 holds exactly.

    :func:`solo_adv.zoo.publishing.publish` stores such weights in half the bytes. They are rounded
    before the run is judged, so that published figures are those of the published weights.
    Biases and everything of batch norms keep all their bits, because they are few.

    Args:
        run: Directory of a finished run, or its checkpoint.
        directory: Where the copy goes, into ``<method>/<version>`` below it. The copy cannot
            continue training.
        with_projector: Whether the projector is kept; without it the encoder has backbone features
            only.

    Returns:
        The copy's checkpoint.

    Raises:
        UserError: there is no such run, it is unfinished or not of this package, or the copy is
            there already.
    """
    checkpoint = find_checkpoint(run)
    content = read_checkpoint(checkpoint)
    if "solo_adv" not in content:
        raise UserError(f"{checkpoint} is no checkpoint of a run of solo-adv, so it has no config.")
    config = content["solo_adv"]["config"]
    check_ends_run(checkpoint, config)
    copy = given_path(directory).joinpath(*checkpoint.resolve().parts[-3:])
    if copy.exists():
        raise UserError(f"{copy} exists already. Name another directory.")
    left_out = ("objective.", *(() if with_projector else ("projector.", "averaged.projector.")))
    content["state_dict"] = {
        name: rounded(tensor)
        for name, tensor in content["state_dict"].items()
        if not name.startswith(left_out)
    }
    for key in _ONLY_FOR_TRAINING:
        content.pop(key, None)
    content["solo_adv"]["without_projector"] = not with_projector
    content["solo_adv"].pop("processes", None)  # random states and perturbations, to continue with
    copy.parent.mkdir(parents=True, exist_ok=True)
    saved = saved_config(checkpoint.parent) or config
    write_whole(copy.parent / CONFIG_FILE, json.dumps(saved, indent=2))
    write_checked(copy, lambda file: torch.save(content, file))
    return copy


def rounded(tensor: Tensor) -> Tensor:
    """The nearest values that bfloat16 holds, in the same type; vectors and integers are kept."""
    if tensor.ndim < 2 or not tensor.is_floating_point():
        return tensor
    return tensor.to(STORED).to(tensor.dtype)


def smallest(tensor: Tensor) -> Tensor:
    """The same values in bfloat16 if it holds each of them exactly; else the tensor itself."""
    if tensor.dtype != torch.float32 or tensor.ndim < 2:
        return tensor
    short = tensor.to(STORED)
    return short if torch.equal(short.to(tensor.dtype), tensor) else tensor
