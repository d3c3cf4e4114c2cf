"""Maps of an encoder's features in two dimensions by UMAP or t-SNE, clean and attacked."""

from collections.abc import Iterator
from importlib.util import find_spec

import torch
from torch import Tensor, nn

from solo_adv.adversaries import PGD
from solo_adv.data import ImageSet
from solo_adv.encoders.classifier import frozen
from solo_adv.evaluation.attacks.seeds import generator_for
from solo_adv.evaluation.images import batches, num_batches, select
from solo_adv.report.feature_map import FeatureMap
from solo_adv.support.checks import choice
from solo_adv.support.errors import UserError
from solo_adv.support.progress import track

KINDS = ("umap", "tsne")
_LEAST = 10
"""The least number of images that make a map."""


def map_features(
    encoder: nn.Module,
    image_set: ImageSet,
    *,
    kind: str,
    adversary: PGD | None,
    max_images: int | None,
    batch_size: int,
    device: torch.device | str,
    seed: int,
) -> FeatureMap:
    """Map features of images, and those of the same images under an attack that needs no labels.

    The attack moves each image's features as far as it can from the clean ones, by their squared
    Euclidean distance. The map is fitted to clean and attacked features together, so that both
    sides of it can be compared.

    Args:
        encoder: network from pixels (N, 3, H, W) in [0, 1] to features (N, D), on ``device``.
        image_set: the images, of which labels only colour the map.
        kind: ``umap`` (needs the package umap-learn) or ``tsne``.
        adversary: the attack, which should start at random, because the distance has no gradient at
            the clean image; None shows clean features alone.
        max_images: how many images to show, drawn by the seed; None shows all.
        batch_size: number of images in a forward pass.
        device: where to compute.
        seed: seed of everything that is drawn at random.

    Raises:
        UserError: the kind is unknown, its package is missing, or there are too few images.
    """
    check_kind("--kind", kind)
    shown = select(image_set, max_images, seed)
    if len(shown) < _LEAST:
        raise UserError(f"A map needs at least {_LEAST} images; got {len(shown)}.")
    reduce = _umap if kind == "umap" else _tsne
    encoder.eval()
    with frozen(encoder):
        pairs = _features(encoder, shown, adversary, batch_size, device, seed)
        total = num_batches(shown, batch_size)
        clean, attacked, labels = (
            torch.cat(parts) for parts in zip(*track(pairs, "Features", total), strict=True)
        )
    both = clean if adversary is None else torch.cat([clean, attacked])
    places = reduce(both, seed)
    name = "UMAP" if kind == "umap" else "t-SNE"
    return FeatureMap(
        clean=places[: len(clean)],
        attacked=None if adversary is None else places[len(clean) :],
        labels=labels,
        classes=shown.classes,
        title=f"{name} of the features of {len(shown):,} images, {image_set.name}",
        attack=""
        if adversary is None
        else f"features moved by PGD-{adversary.steps} at {adversary.ball.text}",
    )


def _features(
    encoder: nn.Module,
    images: ImageSet,
    adversary: PGD | None,
    batch_size: int,
    device: torch.device | str,
    seed: int,
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    for number, (pixels, labels) in enumerate(batches(images, batch_size, device)):
        with torch.no_grad():
            clean = encoder(pixels)
        attacked = clean
        if adversary is not None:

            def distance(moved: Tensor, clean: Tensor = clean) -> Tensor:
                return (encoder(moved) - clean).square().sum()

            generator = generator_for(seed, 0, number, device=device)
            delta = adversary.perturb(pixels, distance, generator)
            with torch.no_grad():
                attacked = encoder(pixels + delta)
        yield clean.float().cpu(), attacked.float().cpu(), labels.cpu()


def check_kind(key: str, kind: str) -> None:
    """Refuse a kind of map that is unknown or whose package is missing.

    Args:
        key: the setting's name, for the message.
        kind: one of ``KINDS``.

    Raises:
        UserError: there is no such kind, or its package is not installed.
    """
    choice(key, kind, KINDS)
    if kind == "umap" and find_spec("umap") is None:
        raise UserError(
            "UMAP needs the package umap-learn: pip install 'solo-adv[umap]', or use tsne."
        )


def _umap(features: Tensor, seed: int) -> Tensor:
    from umap import UMAP  # noqa: PLC0415  takes seconds

    return torch.as_tensor(UMAP(random_state=seed, n_jobs=1).fit_transform(features.numpy()))


def _tsne(features: Tensor, seed: int) -> Tensor:
    from sklearn.manifold import TSNE  # noqa: PLC0415  takes a second

    perplexity = min(30.0, (len(features) - 1) / 3)
    reducer = TSNE(perplexity=perplexity, init="pca", random_state=seed)
    return torch.as_tensor(reducer.fit_transform(features.numpy()))
