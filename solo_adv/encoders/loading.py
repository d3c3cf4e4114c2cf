"""Loads an encoder from a checkpoint file."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from solo_adv.encoders.batch_norms import of_one_branch
from solo_adv.encoders.checkpoint import find_checkpoint, read_checkpoint
from solo_adv.encoders.encoder import Encoder
from solo_adv.encoders.foreign import (
    EncoderSettings,
    is_solo_learns,
    solo_learn_config,
    solo_learn_words,
)
from solo_adv.encoders.published import published
from solo_adv.encoders.weights import fill
from solo_adv.support.errors import UserError
from solo_adv.support.processes import rank


def encoder_from(
    path: str | Path, *, features: str = "auto", settings: EncoderSettings | None = None
) -> Encoder:
    """Load a pretrained encoder on the CPU, in eval mode and with its weights frozen.

    Args:
        path: a ``.ckpt`` file, or the directory of a run, whose newest checkpoint is loaded. It may
            be of this package's methods, under either host, of solo-learn's own, or of another
            repository (see ``published.py``), which is told on the standard error.
        features: ``hidden``, ``backbone``, ``projector`` or ``auto``; see :class:`Encoder`.
        settings: what the checkpoint of another repository does not say.

    Raises:
        UserError: there is no such file, it is not a checkpoint or does not fit its config, or the
            stem of its backbone is unknown.
    """
    file = find_checkpoint(path)
    checkpoint = read_checkpoint(file, only_weights=True)
    named = (settings or EncoderSettings()).named
    told = ""
    if "solo_adv" in checkpoint:
        saved = checkpoint["solo_adv"]
        if named:
            raise UserError(
                f"{file} says itself how its encoder is built; encoder.{next(iter(named))} is for "
                "checkpoints of other repositories."
            )
        encoder = Encoder(
            saved["config"],
            features,
            with_projector=False if saved.get("without_projector") else None,
            crop_passes=saved["crop_passes"],
        )
        state = _judged_weights(checkpoint["state_dict"], saved["config"])
    elif is_solo_learns(file, checkpoint["state_dict"]):
        config, state = solo_learn_config(file, checkpoint["state_dict"], named)
        told = f"Read {file.name} as {solo_learn_words(config)}."
        encoder = Encoder(config, features, with_projector=False)
    else:
        config, state = found = published(file, checkpoint["state_dict"], named)
        told = f"Read {file.name} as {found.told}."
        encoder = Encoder(config, features, with_projector=False)
    fill(encoder, state, file)
    if told and rank() == 0:
        print(told, file=sys.stderr)
    return encoder.requires_grad_(False).eval()


def _judged_weights(state: Mapping[str, Tensor], config: Mapping[str, Any]) -> dict[str, Tensor]:
    """The weights of backbone and projector that evaluations use, according to the run's config.

    If the run kept an average of the weights, it is the average (unless
    ``averaging.encoder=online``). If it had two batch norms, it is the one for attacked views.
    """
    averaging = config.get("averaging") or {}
    prefix = "averaged."
    if averaging.get("decay") and averaging.get("encoder") == "average":
        state = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
    weights = _of_networks(state, "backbone.", "projector.")
    two = config["backbone"].get("batch_norms", 1) == 2
    return of_one_branch(weights) if two else weights


def _of_networks(state: Mapping[str, Tensor], *prefixes: str) -> dict[str, Tensor]:
    return {name: value for name, value in state.items() if name.startswith(prefixes)}
