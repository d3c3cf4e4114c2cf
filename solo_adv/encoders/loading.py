"""From a checkpoint file back to an encoder."""

from pathlib import Path

from solo_adv.encoders.checkpoint import find_checkpoint, read_checkpoint
from solo_adv.encoders.encoder import Encoder
from solo_adv.encoders.foreign import EncoderSettings, solo_learn_config
from solo_adv.encoders.weights import fill
from solo_adv.support.errors import UserError


def encoder_from(
    path: str | Path, *, features: str = "auto", settings: EncoderSettings | None = None
) -> Encoder:
    """A pretrained encoder from a checkpoint, on the CPU, in eval mode, its weights frozen.

    Args:
        path: a ``.ckpt`` file, or the directory of a run (its newest checkpoint): of this package's
            methods, under either host, or of solo-learn's own.
        features: ``hidden``, ``backbone``, ``projector`` or ``auto``; see :class:`Encoder`.
        settings: what the ``args.json`` of a solo-learn checkpoint does not say, or wrongly.

    Raises:
        UserError: no such file, not a checkpoint, it does not fit its config, or its stem is
            unknown.
    """
    file = find_checkpoint(path)
    checkpoint = read_checkpoint(file)
    state = {
        name: value
        for name, value in checkpoint["state_dict"].items()
        if name.startswith(("backbone.", "projector."))
    }
    named = (settings or EncoderSettings()).named
    if "solo_adv" in checkpoint:
        saved = checkpoint["solo_adv"]
        if named:
            raise UserError(
                f"{file} says itself how its encoder is built; encoder.{next(iter(named))} is for "
                "checkpoints of solo-learn's own methods."
            )
        encoder = Encoder(saved["config"], features, crop_passes=saved["crop_passes"])
    else:
        state = {name: value for name, value in state.items() if name.startswith("backbone.")}
        config = solo_learn_config(file, state, named)
        encoder = Encoder(config, features, with_projector=False)
    fill(encoder, state, file)
    return encoder.requires_grad_(False).eval()
