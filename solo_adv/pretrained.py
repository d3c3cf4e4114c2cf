"""One door to every pretrained encoder: a checkpoint, or a model of the zoo."""

from pathlib import Path
from typing import overload

from solo_adv.encoders.classifier import Classifier
from solo_adv.encoders.encoder import Encoder
from solo_adv.encoders.foreign import EncoderSettings
from solo_adv.encoders.loading import encoder_from
from solo_adv.support.errors import UserError
from solo_adv.zoo.index import ZOO_NAME
from solo_adv.zoo.loading import load


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
    """A pretrained encoder, on the CPU, in eval mode, its weights frozen.

    Args:
        path: a ``.ckpt`` file, or the directory of a run (its newest checkpoint): of this package's
            methods, under either host, or of solo-learn's own. Or the name of a model of the zoo
            (``python -m solo_adv.zoo list``), which is downloaded once.
        features: ``hidden``, ``backbone``, ``projector`` or ``auto``; see :class:`Encoder`.
        settings: what the ``args.json`` of a solo-learn checkpoint does not say, or wrongly.
        head: of a model of the zoo, ``linear`` or ``robust_linear``: a classifier from pixels
            (N, 3, H, W) in [0, 1] to logits (N, K), instead of the encoder.

    Raises:
        UserError: no such file or name, not a checkpoint, it does not fit its config, its stem is
            unknown, or the model has no such head.
    """
    if not Path(path).exists() and ZOO_NAME.fullmatch(str(path)):
        return load(str(path), features=features, head=head, settings=settings)
    if head is not None:
        raise UserError(
            f"head={head} is for models of the zoo, and {path} is none. Train a head with "
            "main_robust.py, which writes head.safetensors beside its report."
        )
    return encoder_from(path, features=features, settings=settings)
