"""Measures the accuracy on corrupted images. It can be resumed after each corruption."""

import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

import torch

from solo_adv.encoders.classifier import frozen, predict
from solo_adv.evaluation.aggregation import CropStacks
from solo_adv.evaluation.attacks.bench import Bench
from solo_adv.evaluation.corruptions.severities import CORRUPTIONS, GENERATED, SEVERITIES
from solo_adv.evaluation.corruptions.sources import Source
from solo_adv.evaluation.images import my_batches, my_share
from solo_adv.report.corruptions import corruptions_measured
from solo_adv.report.measurement import Measurement
from solo_adv.support.errors import UserError
from solo_adv.support.files import write_whole
from solo_adv.support.fingerprints import fingerprint, model_fingerprint
from solo_adv.support.processes import merged, rank
from solo_adv.support.progress import track


def evaluate_corruptions(
    bench: Bench, source: Source, *, directory: Path | None = None
) -> Measurement:
    """Measure the mean accuracy over all corruptions of a source and the five severities.

    Args:
        bench: the classifier and the images that are judged without corruption.
        source: the corrupted images.
        directory: where the counts are saved after every corruption. A killed evaluation continues
            from there and ends with the same result. None saves nothing.

    Returns:
        The accuracy over all corrupted images. Its details hold the number of correct images for
        each corruption and severity.

    Raises:
        UserError: part of the classifier is in training mode, there is no image, or the counts on
            disk are damaged.

    Source:
        Hendrycks and Dietterich 2019, https://arxiv.org/abs/1903.12261. (Its mCE divides errors by
        those of AlexNet; this is the plain mean accuracy that is usual on CIFAR-10-C.)
    """
    bench.check()
    each = len(source.images(source.corruptions[0], SEVERITIES[0]))
    key = fingerprint(
        model_fingerprint(bench.classifier), bench.images.fingerprint(), source.key, each
    )
    counts = Counts.load(directory, key, each)
    left = [name for name in source.corruptions if name not in counts.correct]
    rounds = len(left) * len(SEVERITIES) * my_share(each, bench.batch_size)
    with frozen(bench.classifier):
        for _ in track(_judged(bench, source, left, counts, directory), "Corruptions", rounds):
            pass
    return corruptions_measured(
        {name: counts.correct[name] for name in source.corruptions},
        images=each,
        source=source.name,
        generated=source.name == GENERATED,
        missing=[name for name in CORRUPTIONS if name not in source.corruptions],
        notes=source.notes,
        seconds=round(counts.seconds, 3),
    )


@dataclass
class Counts:
    """How many images were classified correctly, for the corruptions that are done."""

    fingerprint: str
    correct: dict[str, list[int]] = field(default_factory=dict)
    """For each corruption the number at each severity."""
    seconds: float = 0.0
    """How long they took."""

    def save(self, directory: Path | None) -> None:
        """Let the first process write the counts into ``directory``; None writes nothing."""
        if directory is None or rank() > 0:
            return
        try:
            directory.mkdir(parents=True, exist_ok=True)
            write_whole(_path(directory, self.fingerprint), json.dumps(asdict(self)))
        except OSError as error:
            raise UserError(
                f"Cannot write the counts of corrupted images into '{directory}' "
                f"({error.strerror}). Choose another directory."
            ) from error

    @classmethod
    def load(cls, directory: Path | None, key: str, images: int) -> "Counts":
        """Load the counts of the evaluation with the fingerprint ``key``, or begin new ones.

        Args:
            directory: where the counts were saved; None begins new ones.
            key: fingerprint of the evaluation.
            images: number of images of a corruption at one severity.

        Raises:
            UserError: the file is damaged, or belongs to another evaluation.
        """
        path = None if directory is None else _path(directory, key)
        if path is None or not path.exists():
            return cls(key)
        try:
            held = json.loads(path.read_text(encoding="utf-8"))
            counts = cls(**{f.name: held[f.name] for f in fields(cls)})
            whole = counts.fingerprint == key and all(
                len(found) == len(SEVERITIES) and min(found) >= 0 and max(found) <= images
                for found in counts.correct.values()
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            whole = False
        if not whole:
            raise UserError(
                f"{path} is damaged, or holds the counts of another evaluation. Delete it to start "
                "again."
            )
        return counts


def _judged(
    bench: Bench, source: Source, corruptions: list[str], counts: Counts, directory: Path | None
) -> Iterator[None]:
    """Judge the corruptions and save each when it is done. Yields after every batch."""
    for name in corruptions:
        begun = time.perf_counter()
        found = torch.zeros(len(SEVERITIES), dtype=torch.long)
        for number, severity in enumerate(SEVERITIES):
            for right in _right(bench, source, name, severity):
                found[number] += right
                yield
        counts.correct[name] = merged(found).tolist()
        counts.seconds += time.perf_counter() - begun
        counts.save(directory)


@torch.no_grad()
def _right(bench: Bench, source: Source, corruption: str, severity: int) -> Iterator[int]:
    """The number of correct images in each of this process's batches."""
    images = source.images(corruption, severity)
    everywhere = torch.arange(len(images))
    for batch in my_batches(images, everywhere, bench.batch_size, bench.device):
        pixels = source.change(batch.images, batch.places.tolist(), corruption, severity)
        if isinstance(bench.images, CropStacks):
            pixels = bench.images.crops(pixels)
        pixels = pixels.contiguous(memory_format=torch.channels_last)
        yield int((predict(bench.classifier, pixels) == batch.labels).sum())


def _path(directory: Path, key: str) -> Path:
    return directory / f"corruptions-{key}.json"
