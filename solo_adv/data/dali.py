"""NVIDIA DALI decodes each image once, cuts V crops from it, and works some batches ahead."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from solo_adv.crops import CropOptions, CropParameters, CropSpec
from solo_adv.crops.dali import DaliCutter, can_decode, to_pixels
from solo_adv.crops.parameters import draw
from solo_adv.crops.torch import TorchCrops
from solo_adv.data.decoding import first_readable, unreadable, warn_skipped
from solo_adv.data.image_set import ImageSet
from solo_adv.data.loaders import Batch, OrderedLoader
from solo_adv.support.errors import UnreadableImageError, UserError

AHEAD = 2
"""Number of batches that DALI prepares beyond the one that is asked for."""

Images = np.ndarray | list[np.ndarray]


@dataclass
class _Fed:
    """A batch that has been fed to DALI."""

    number: int
    rows: list[int]
    parameters: CropParameters


class DaliLoader(OrderedLoader):
    """Train batches ``[indexes, views, targets]`` of finished crops.

    ``views`` is a list of V tensors (B, 3, size, size), float32 in [0, 1], one crop of every image
    in each. They are slices of one tensor on ``device``. The crops are drawn from (seed, epoch,
    process, batch), so a resumed run sees the same crops.

    Args:
        image_set: images in memory, files that DALI decodes, or any others, which Pillow decodes.
        spec: the distribution of the crops.
        options: ``chunk`` and ``compile`` for the colour operations that follow the cutting.
        device: where crops are made; a CUDA device also decodes the files.
        threads: number of threads that read files, and that DALI uses on the CPU.
        **order: the arguments of ``OrderedLoader``.

    Raises:
        UserError: DALI is not installed, or files are to be decoded without ``data.image_size``;
            while iterating, an image cannot be read.
    """

    def __init__(
        self,
        image_set: ImageSet,
        spec: CropSpec,
        *,
        options: CropOptions,
        device: torch.device,
        threads: int,
        seed: int = 0,
        rank: int = 0,
        **order: Any,
    ) -> None:
        super().__init__(image_set, seed=seed, rank=rank, **order)
        if image_set.encoded is not None and image_set.image_size is None:
            raise UserError(
                "data.format=dali must know the size of the images it decodes; "
                "set data.image_size, or data.resident=true."
            )
        assert not isinstance(image_set.image_size, tuple)  # train images are not cropped
        self.image_set = image_set
        self.image_size = image_set.image_size
        self.spec = spec
        self.device = device
        self.threads = threads
        self.seed, self.rank = seed, rank
        self._finish = TorchCrops(spec, chunk=options.chunk, compiled=options.compile)
        self._readers = ThreadPoolExecutor(threads)
        self._replaced: dict[int, int] = {}
        self._cutter = self._new_cutter()

    def __iter__(self) -> Iterator[Batch]:
        order = self.sampler.order()
        fed: deque[_Fed] = deque()
        feeding = iter(range(self._first_batch(), len(self)))
        self._cutter.drain()
        try:
            while True:
                while len(fed) <= AHEAD and (number := next(feeding, None)) is not None:
                    start = number * self.batch_size
                    rows = order[start : start + self.batch_size].tolist()
                    fed.append(self._feed(number, rows))
                if not fed:
                    return
                crops = self._cut(fed)
                batch = fed.popleft()
                crops = self._finish.recolor(crops, batch.parameters)
                indexes = torch.tensor(batch.rows, device=self.device)
                targets = self.image_set.labels[batch.rows].to(self.device)
                self._given = batch.number + 1
                yield [indexes, list(crops.chunk(self.spec.num_crops)), targets]
        finally:
            self._cutter.drain()

    def _feed(self, number: int, rows: list[int]) -> _Fed:
        rows, images = self._read([self._replaced.get(row, row) for row in rows])
        height, width = self._size(images)
        generator = generator_of_batch(
            seed=self.seed, epoch=self.sampler.epoch, rank=self.rank, number=number
        )
        batch = _Fed(number, rows, draw(self.spec, len(rows), height, width, generator))
        self._cutter.feed(images, batch.parameters)
        return batch

    def _cut(self, fed: deque[_Fed]) -> Tensor:
        """The crops of the oldest batch in ``fed``.

        If DALI cannot decode an image, all batches in ``fed`` are fed again with a replacement,
        and their rows then name the replacement.
        """
        while True:
            try:
                return self._cutter.crops()
            except RuntimeError as error:
                self._replace_unreadable([row for batch in fed for row in batch.rows], error)
                # DALI's pipeline cannot be used again after an error.
                self._cutter = self._new_cutter()
                for place, batch in enumerate(list(fed)):
                    fed[place] = self._feed(batch.number, batch.rows)

    def _replace_unreadable(self, rows: list[int], error: RuntimeError) -> None:
        """Find a replacement for each image of ``rows`` that DALI cannot decode.

        Raises:
            UnreadableImageError: an image cannot be decoded and may not be replaced.
            RuntimeError: ``error`` itself, if all images can be decoded.
        """
        sources = self.image_set.encoded
        if sources is None:
            raise error

        def readable(row: int) -> bool | None:
            if can_decode(self._file(row), self.device):
                return True
            bad = unreadable(sources, row, "DALI cannot decode it.")
            if not self.image_set.skip:
                raise bad from None
            warn_skipped(bad)
            return None

        before = dict(self._replaced)
        for row in set(rows):
            place, _ = first_readable(row, len(self.image_set), readable)
            if place != row:
                self._replaced[row] = place
        if self._replaced == before:
            raise error

    def _read(self, rows: list[int]) -> tuple[list[int], Images]:
        """The rows that were read, in place of ``rows``, and their images to feed to DALI."""
        if self.image_set.resident:
            return rows, to_pixels(self.image_set.images[rows])
        if self.image_set.encoded is None:
            read, images, _ = zip(*map(self.image_set.read, rows), strict=True)
            return list(read), to_pixels(torch.stack(images))
        found = list(self._readers.map(self._file_or_next, rows))
        return [row for row, _ in found], [file for _, file in found]

    def _file_or_next(self, row: int) -> tuple[int, np.ndarray]:
        if not self.image_set.skip:
            return row, self._file(row)

        def file(candidate: int) -> np.ndarray | None:
            try:
                return self._file(candidate)
            except UnreadableImageError as error:
                warn_skipped(error)
                return None

        return first_readable(row, len(self.image_set), file)

    def _file(self, row: int) -> np.ndarray:
        sources = self.image_set.encoded
        assert sources is not None
        try:
            stored = sources.read(row)
        except OSError as error:
            raise unreadable(sources, row, error) from error
        if not stored:
            raise unreadable(sources, row, "it is empty.")
        return np.frombuffer(stored, dtype=np.uint8)

    def _size(self, images: Images) -> tuple[int, int]:
        if isinstance(images, np.ndarray):
            return images.shape[1], images.shape[2]
        side = self.image_size
        assert side is not None
        return side, side

    def _new_cutter(self) -> DaliCutter:
        return DaliCutter(
            self.spec,
            max_batch_size=self.batch_size,
            device=self.device,
            encoded=self.image_set.encoded is not None,
            image_size=self.image_size,
            threads=self.threads,
            ahead=AHEAD,
        )


def generator_of_batch(*, seed: int, epoch: int, rank: int, number: int) -> torch.Generator:
    """The random generator that draws the crops of one batch of one process."""
    # torch uses only 32 bits of a seed, so the numbers are mixed: each batch gets its own stream.
    mixed = np.random.SeedSequence((seed, epoch, rank, number)).generate_state(1)[0]
    return torch.Generator().manual_seed(int(mixed))
