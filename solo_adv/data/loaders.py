"""Batches of whole images, from device memory or from worker processes.

Both loaders give solo-learn's batches: ``[indexes, [images], targets]`` for pretraining, with
``indexes`` and ``targets`` long (B,) and ``images`` uint8 (B, 3, H, W), and ``[images, targets]``
for validation (``indexed=False``). Both remember how far they are, so that a run that Lightning
resumes in the middle of an epoch sees exactly the images it had not seen yet.
"""

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch.utils.data import BatchSampler, DataLoader, Dataset, TensorDataset

from solo_adv.data.copying import copy_ahead
from solo_adv.data.image_set import ImageSet
from solo_adv.data.sampling import EpochSampler
from solo_adv.data.worker_signals import outlive_sigterm
from solo_adv.support.errors import UserError

Batch = list[Any]


class Resumable:
    """Counts the batches given in an epoch, and can begin after them; of the epoch it was saved in.

    Lightning keeps the state in its checkpoints.
    """

    sampler: Any
    _epoch = 0
    _given = 0
    _resume: dict[str, int] | None = None

    def state_dict(self) -> dict[str, int]:
        """The epoch that was last begun, and how many of its batches were given."""
        return {"epoch": self._epoch, "batches": self._given}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Let the next iteration, if it is of the same epoch, begin after the given batches."""
        self._resume = state

    def _first_batch(self) -> int:
        resume, self._resume = self._resume, None
        self._epoch, self._given = self.sampler.epoch, 0
        # another epoch: the saved one was over, or cut off by a limit on its batches
        if resume is not None and resume["epoch"] == self._epoch:
            self._given = resume["batches"]
        return self._given


class OrderedLoader(Resumable):
    """Knows which images come in which batch; subclasses bring the images.

    Args:
        dataset: anything that has a length.
        batch_size: images a batch and process.
        shuffle: a new order every epoch, drawn from (seed, epoch).
        drop_last: leave out the last, smaller batch, and what does not divide by ``world_size``.
        seed: of the order; 0 to 2**32 - 1.
        rank, world_size: which of how many processes this is; no image goes to two of them.
    """

    def __init__(
        self,
        dataset: Dataset[Any],
        *,
        batch_size: int,
        shuffle: bool,
        drop_last: bool,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.dataset = dataset
        self.batch_size = batch_size
        # Lightning looks for both samplers, and tells them the epoch
        self.sampler = EpochSampler(
            self.dataset,
            shuffle=shuffle,
            drop_last=drop_last,
            seed=seed,
            rank=rank,
            world_size=world_size,
        )
        self.batch_sampler = BatchSampler(self.sampler, batch_size, drop_last)

    def set_epoch(self, epoch: int) -> None:
        """Choose the order: that of ``epoch``."""
        self.sampler.set_epoch(epoch)

    def __len__(self) -> int:
        return len(self.batch_sampler)


class ResidentLoader(OrderedLoader):
    """Batches of images that lie on the device, without workers or copies from the host.

    Args:
        images: uint8 (N, 3, H, W), moved to ``device`` once.
        labels: long (N,), likewise.
        device: where batches are made; None: where the images are.
        indexed: pretraining batches; False: validation batches.
        **order: the arguments of ``OrderedLoader``.
    """

    def __init__(
        self,
        images: torch.Tensor,
        labels: torch.Tensor,
        *,
        device: torch.device | str | None = None,
        indexed: bool = True,
        **order: Any,
    ) -> None:
        device = images.device if device is None else torch.device(device)
        self.tensors = images.to(device), labels.to(device)
        super().__init__(TensorDataset(*self.tensors), **order)
        self.indexed = indexed

    def __iter__(self) -> Iterator[Batch]:
        images, labels = self.tensors
        order = self.sampler.order().to(images.device)
        for number in range(self._first_batch(), len(self)):
            indexes = order[number * self.batch_size : (number + 1) * self.batch_size]
            picked, targets = images.index_select(0, indexes), labels.index_select(0, indexes)
            self._given = number + 1
            yield [indexes, [picked], targets] if self.indexed else [picked, targets]


class StreamingLoader(Resumable, DataLoader):
    """A DataLoader that draws its order late, reports errors in one line, and can be resumed.

    It must hold an ``EpochSampler``; ``streaming_loader`` makes one.
    """

    copy_to: torch.device | None = None

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]
        # a generator: the workers start with the first batch, not with `iter`, which Lightning
        # calls before it tells a resumed run's epoch
        assert self.batch_size is not None
        start = self._first_batch()
        self.sampler.skip_next = start * self.batch_size
        try:
            for number, batch in enumerate(copy_ahead(super().__iter__(), self.copy_to), start):
                self._given = number + 1
                yield batch
        except UserError as error:  # of a worker: the message carries a traceback
            message = str(error).strip().rpartition(f"{type(error).__name__}: ")[2]
            raise type(error)(message) from None


def streaming_loader(
    image_set: ImageSet,
    *,
    batch_size: int,
    shuffle: bool,
    drop_last: bool,
    seed: int = 0,
    rank: int = 0,
    world_size: int = 1,
    num_workers: int = 4,
    device: torch.device | None = None,
    indexed: bool = True,
) -> StreamingLoader:
    """Batches of images that worker processes decode; the same batches as ``ResidentLoader``'s.

    Args:
        num_workers: processes, kept over epochs; 0: decode in this one.
        device: a CUDA device gets each batch ahead of time, from page-locked memory.

    The other arguments are those of ``ResidentLoader``.

    Raises:
        UserError: while iterating, if an image cannot be read.
    """
    indexed_set = _Indexed(image_set)
    sampler = EpochSampler(
        indexed_set,
        shuffle=shuffle,
        drop_last=drop_last,
        seed=seed,
        rank=rank,
        world_size=world_size,
    )
    loader = StreamingLoader(
        indexed_set,
        batch_size=batch_size,
        sampler=sampler,
        drop_last=drop_last,
        num_workers=num_workers,
        persistent_workers=num_workers > 0,
        pin_memory=device is not None and device.type == "cuda",
        collate_fn=partial(_collate, indexed=indexed),
        worker_init_fn=outlive_sigterm,
        # Of its own: a resumed run starts its workers once more, which must draw no number that
        # training would have drawn.
        generator=torch.Generator().manual_seed(seed),
    )
    loader.copy_to = device
    return loader


class _Indexed(Dataset[tuple[int, torch.Tensor, int]]):
    def __init__(self, image_set: ImageSet) -> None:
        self.image_set = image_set

    def __len__(self) -> int:
        return len(self.image_set)

    def __getitem__(self, index: int) -> tuple[int, torch.Tensor, int]:
        return self.image_set.read(index)


def _collate(items: list[tuple[int, torch.Tensor, int]], *, indexed: bool) -> Batch:
    indexes, images, targets = zip(*items, strict=True)
    stacked, labels = torch.stack(images), torch.tensor(targets)
    return [torch.tensor(indexes), [stacked], labels] if indexed else [stacked, labels]
