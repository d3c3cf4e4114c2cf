"""Loads any pretrained encoder, from a checkpoint or from the zoo."""

from pathlib import Path
from typing import overload

from solo_adv.catalogue.index import ZOO_NAME
from solo_adv.catalogue.places import is_on_hub
from solo_adv.encoders.checkpoint import find_checkpoint, names_latest
from solo_adv.encoders.classifier import Classifier
from solo_adv.encoders.encoder import Encoder
from solo_adv.encoders.foreign import EncoderSettings
from solo_adv.encoders.loading import encoder_from
from solo_adv.encoders.pretrained_timm import PREFIX, timm_encoder, weights_file
from solo_adv.support.errors import UserError
from solo_adv.support.files import given_path


@overload
def load_pretrained(
    path: str | Path,
    *,
    features: str = ...,
    settings: EncoderSettings | None = ...,
    head: None = ...,
) -> Encoder: ...


@overload
def load_pretrained(
    path: str | Path, *, features: str = ..., settings: EncoderSettings | None = ..., head: str
) -> Classifier: ...


def load_pretrained(
    path: str | Path,
    *,
    features: str = "auto",
    settings: EncoderSettings | None = None,
    head: str | None = None,
) -> Encoder | Classifier:
    """Load a pretrained encoder on the CPU, in eval mode and with its weights frozen.

    Args:
        path: a ``.ckpt`` file, or the directory of a run, whose newest checkpoint is loaded, or
            ``latest``, for the run that saved last below ``trained_models``. It may be of this
            package's methods, under either host, of solo-learn's own, or of another repository
            (docs/solo-learn.md has the list); what is recognised is told on the standard error, and
            parts that are missing are an error. It may also be the name of a model of
            the zoo (``python -m solo_adv.zoo list``), which is downloaded once, a repository of the
            Hugging Face hub that holds one (``hf://OWNER/NAME`` or ``hf://OWNER/NAME@REVISION``),
            or ``timm:NAME`` or ``timm:NAME@FILE``; see :func:`timm_encoder`.
        features: ``hidden``, ``backbone``, ``projector`` or ``auto``; see :class:`Encoder`.
        settings: what the checkpoint of another repository does not say.
        head: for a model of the zoo, ``linear``, ``robust_linear`` or another that it has loads a
            classifier from pixels (N, 3, H, W) in [0, 1] to logits (N, K) instead of the encoder.

    Raises:
        UserError: there is no such file or name, the file is no checkpoint or does not fit its
            config, the stem of its backbone is unknown, or the model has no such head.
    """
    named = _named(path)
    if named == "zoo":
        from solo_adv.catalogue.loading import load  # noqa: PLC0415  it imports requests

        return load(str(path), features=features, head=head, settings=settings)
    if head is not None:
        raise UserError(
            f"head={head} needs a model of the zoo, and {path} is not one. Train a head with "
            "main_robust.py, which writes head.safetensors beside its report."
        )
    if named == "timm":
        if settings is not None and settings.named:
            raise UserError(
                f"encoder.{next(iter(settings.named))} is for checkpoints of other "
                f"repositories; timm knows how {path} is built."
            )
        return timm_encoder(str(path), features=features)
    return encoder_from(path, features=features, settings=settings)


def file_of(path: str | Path) -> Path | None:
    """The file that :func:`load_pretrained` reads; None for names whose files are downloaded.

    Raises:
        UserError: there is no such file.
    """
    named = _named(path)
    if named == "timm":
        return weights_file(str(path))
    return None if named == "zoo" else find_checkpoint(path)


def _named(path: str | Path) -> str:
    if str(path).startswith(PREFIX):
        return "timm"
    if is_on_hub(str(path)):
        return "zoo"
    if names_latest(path):
        return "file"
    by_name = not given_path(path).exists() and ZOO_NAME.fullmatch(str(path))
    return "zoo" if by_name else "file"
