"""Loads a model of the zoo."""

from typing import Any

from solo_adv.catalogue.download import locate
from solo_adv.catalogue.entry import Entry
from solo_adv.catalogue.index import entries, find, find_on_hub
from solo_adv.catalogue.places import is_on_hub
from solo_adv.encoders.classifier import Classifier
from solo_adv.encoders.encoder import Encoder
from solo_adv.encoders.foreign import EncoderSettings
from solo_adv.encoders.weights import fill, read_head, read_weights
from solo_adv.support.checks import choice
from solo_adv.support.errors import UserError, unknown


def load(
    name: str,
    *,
    features: str = "auto",
    head: str | None = None,
    settings: EncoderSettings | None = None,
) -> Encoder | Classifier:
    """Load a model; see :func:`solo_adv.load_pretrained`.

    Raises:
        UserError: There is no such model or head, or a file cannot be had or does not fit.
    """
    if settings is not None and settings.named:
        raise UserError(
            f"encoder.{next(iter(settings.named))} is for checkpoints of other repositories; "
            f"the zoo knows how the encoder of {name} is built."
        )
    entry = find_on_hub(name) if is_on_hub(name) else _find_or_explain(name)
    if head is None:
        return load_encoder(entry, features)
    if head not in entry.heads:
        has = ", ".join(entry.heads) or "none"
        raise UserError(
            f"{name} has no head '{head}'; it has {has}. Use one that it has, or head=None for the "
            "encoder alone."
        )
    if features not in ("auto", entry.features):
        raise UserError(f"The heads of {name} take features={entry.features}, not {features}.")
    encoder = load_encoder(entry, entry.features)
    file = locate(entry.files[head], entry.base_urls)
    return Classifier(encoder, read_head(file, encoder.features_dim))


def load_encoder(entry: Entry, features: str = "auto") -> Encoder:
    """Load the encoder of an entry, on the CPU, in eval mode, with frozen weights.

    Args:
        entry: The model.
        features: Which features it returns; ``auto`` means those that the entry's heads take.

    Raises:
        UserError: Its file cannot be had or does not fit.
    """
    choice("features", features, ["auto", *entry.feature_dims])
    config: dict[str, Any] = entry.training["config"]
    encoder = Encoder(
        config,
        entry.features if features == "auto" else features,
        with_projector="hidden" in entry.feature_dims,
        crop_passes=entry.training["crop_passes"],
    )
    file = locate(entry.files["encoder"], entry.base_urls)
    fill(encoder, read_weights(file), file)
    return encoder.requires_grad_(False).eval()


def _find_or_explain(name: str) -> Entry:
    try:
        return find(name)
    except UserError:
        if name in entries():
            raise
        none = unknown("zoo model", name, entries())
        raise UserError(f"There is no file or directory '{name}'. {none}") from None
