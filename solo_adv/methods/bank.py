"""A bank of targets: a teacher's features of every training image, computed once."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from solo_adv.crops import CropSpec
from solo_adv.crops import build as build_crops
from solo_adv.data.loaders import in_order, number_of_images
from solo_adv.methods.teacher import FrozenTeacher, TeacherSettings
from solo_adv.support.errors import UserError
from solo_adv.support.logistic import fit_logistic
from solo_adv.support.processes import from_first, rank, same_everywhere, world_size
from solo_adv.support.progress import track

_CROPS_AT_ONCE = 512


@dataclass(frozen=True)
class Bank:
    """The targets of N training images, and what follows from them.

    Attributes:
        targets: for each image the mean of the teacher's features of its crops, (N, D'). They are
            rounded to 11 binary digits, because they are saved with the run in half precision.
        center: the mean of all targets (D'), or None if they are not to be centred.
        clusters: for each image the number of its cluster, long (N,), or None.
    """

    targets: Tensor
    center: Tensor | None = None
    clusters: Tensor | None = None

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> "Bank":
        """The same bank on a device, with floating-point numbers of a type."""
        return Bank(
            self.targets.to(device, dtype),
            None if self.center is None else self.center.to(device, dtype),
            None if self.clusters is None else self.clusters.to(device),
        )

    def state_dict(self) -> dict[str, Tensor | None]:
        """The bank as it is saved."""
        center = None if self.center is None else self.center.cpu()
        clusters = None if self.clusters is None else self.clusters.cpu()
        targets = self.targets.cpu()
        scale = _scale(targets)
        return {
            "targets": (targets / scale).half(),
            "scale": scale,
            "center": center,
            "clusters": clusters,
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> "Bank":
        """The bank that was saved as ``state``."""
        return cls(state["targets"].float() * state["scale"], state["center"], state["clusters"])

    def of(self, indexes: Tensor, views: int) -> Tensor:
        """The targets (views * B, D') of the images at ``indexes`` (B,), once for each view."""
        return self.targets[indexes].repeat(views, 1)

    def head(self) -> torch.nn.Linear:
        """A linear layer that predicts the clusters from the targets, fitted to convergence."""
        assert self.clusters is not None
        features = self.targets.float()
        layer, _ = fit_logistic(features, self.clusters, int(self.clusters.max()) + 1)
        same_everywhere(layer)
        return layer


def crops_of_bank(settings: TeacherSettings, size: int) -> CropSpec:
    """The crops of an image whose mean feature is its target, without changes of colour.

    Args:
        settings: ``crops`` and ``min_scale`` are used. With ``min_scale=1`` a crop is the image.
        size: side of the crops in pixels, as the teacher takes them.
    """
    whole = settings.min_scale == 1
    return CropSpec.preset(
        "weak",
        num_crops=settings.crops,
        size=size,
        pad=0.0,
        scale=(settings.min_scale, 1.0),
        ratio=(1.0, 1.0) if whole else (3 / 4, 4 / 3),
        flip_prob=0.0 if settings.crops == 1 else 0.5,
    )


@torch.no_grad()
def compute_bank(
    teacher: FrozenTeacher,
    loader: Iterable[Any],
    settings: TeacherSettings,
    *,
    to_pixels: Any,
    device: torch.device | str,
    seed: int,
) -> Bank:
    """Compute the targets of all images of a training loader, and their centre and clusters.

    Every process computes a part. The result is the same for any number of processes.

    Args:
        teacher: the teacher.
        loader: the training loader, of either host.
        settings: the ``teacher`` section of the config.
        to_pixels: turns the loader's images into pixels, uint8 or float in [0, 1].
        device: where to compute.
        seed: seed of the crops and of k-means.

    Raises:
        UserError: the loader delivers crops instead of images, or there are more clusters than
            images.
    """
    spec = crops_of_bank(settings, teacher.encoder.image_size)
    batch_size = max(1, _CROPS_AT_ONCE // spec.num_crops)
    count = number_of_images(loader)
    if settings.clusters > count:
        raise UserError(
            f"teacher.clusters={settings.clusters} is more than the {count} training images."
        )
    batches = -(-count // batch_size)
    mine = range(rank(), batches, world_size())
    parts: dict[int, Tensor] = {}
    stream = zip(mine, in_order(loader, batch_size, mine), strict=True)
    for number, images in track(stream, "Targets of the training images", len(mine)):
        # Each batch has a seed of its own, so that its crops do not depend on the processes.
        crops = build_crops(spec, seed=_seed_of(seed, number))(to_pixels(images.to(device)))
        features = teacher(crops).unflatten(0, (spec.num_crops, -1))
        parts[number] = features.mean(0).cpu()
    for other in _all_gathered(parts):
        parts.update(other)
    targets = torch.cat([parts[number] for number in range(batches)])
    if not targets.isfinite().all():
        raise UserError(
            "The teacher's features are not all finite: its training has diverged. Take an earlier "
            "checkpoint, or another teacher."
        )
    scale = _scale(targets)
    targets = (targets / scale).half().float() * scale
    center = targets.mean(0) if settings.center else None
    clusters = None
    if settings.clusters:
        clusters = from_first(_clusters(targets, settings.clusters, seed) if rank() == 0 else None)
    return Bank(targets, center, clusters)


def _scale(targets: Tensor) -> Tensor:
    """A power of two, so that dividing by it is exact, of about the size of the largest target."""
    return 2.0 ** targets.abs().max().clamp(min=1e-30).log2().floor()


def _seed_of(seed: int, batch: int) -> int:
    return (seed * 1_000_003 + batch) % 2**32


def _all_gathered(parts: dict[int, Tensor]) -> list[dict[int, Tensor]]:
    if world_size() == 1:
        return []
    gathered: list[Any] = [None] * world_size()
    dist.all_gather_object(gathered, parts)
    return gathered


def _clusters(targets: Tensor, count: int, seed: int) -> Tensor:
    from sklearn.cluster import KMeans  # noqa: PLC0415  takes a second to import

    means = KMeans(count, n_init=10, random_state=seed)
    return torch.from_numpy(means.fit_predict(targets.numpy())).long()
