"""Batches of whole images, from device memory or from worker processes.

Both loaders give batches in solo-learn's layout: ``[indexes, [images], targets]`` for pretraining,
with ``indexes`` and ``targets`` long (B,) and ``images`` uint8 (B, 3, H, W), and
``[images, targets]`` for validation (``indexed=False``). Both count the batches they have given, so
that a run that Lightning resumes in the middle of an epoch sees exactly the images that it had not
seen yet.
"""

from collections.abc import Iterable, Iterator
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
    """Counts the batches that were given in an epoch, so that a resumed epoch begins after them.

    Lightning keeps the state in its checkpoints. The state has no effect on other epochs than the
    one it was saved in.
    """

    sampler: Any
    _epoch = 0
    _given = 0
    _resume: dict[str, int] | None = None

    def state_dict(self) -> dict[str, int]:
        """The current epoch, and how many of its batches were given."""
        return {"epoch": self._epoch, "batches": self._given}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Make the next iteration skip the batches in ``state``, if it is of the same epoch."""
        self._resume = state

    def _first_batch(self) -> int:
        resume, self._resume = self._resume, None
        self._epoch, self._given = self.sampler.epoch, 0
        # In another epoch nothing is skipped: the saved epoch had ended, perhaps because of a limit
        # on its batches.
        if resume is not None and resume["epoch"] == self._epoch:
            self._given = resume["batches"]
        return self._given


class OrderedLoader(Resumable):
    """Decides which images come in which batch. Subclasses supply the images.

    Args:
        dataset: anything that has a length.
        batch_size: number of images in the batch of each process.
        shuffle: whether every epoch has a new order, drawn from (seed, epoch).
        drop_last: whether to leave out an incomplete last batch, and the images that remain after
            dividing them equally among the processes.
        seed: seed for the order, 0 to 2**32 - 1.
        rank: number of this process. No image goes to two processes.
        world_size: how many processes there are.
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
        # Lightning looks for these two attributes and tells the samplers the epoch.
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
        """Use the order of ``epoch`` from the next iteration on."""
        self.sampler.set_epoch(epoch)

    def __len__(self) -> int:
        return len(self.batch_sampler)


class ResidentLoader(OrderedLoader):
    """Batches of images that lie on the device, so that no workers and no copies are needed.

    Args:
        images: uint8 (N, 3, H, W), moved to ``device`` once.
        labels: long (N,), moved to ``device`` once.
        device: where batches are made; None means where the images are.
        indexed: whether to give pretraining batches; False gives validation batches.
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
    """A DataLoader that can be resumed and that reports errors in one line.

    It draws the order of an epoch when its first batch is asked for. Its sampler must be an
    ``EpochSampler``; ``streaming_loader`` makes such a loader.
    """

    copy_to: torch.device | None = None

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]
        # Lightning calls `iter` before it tells the epoch of a resumed run. This method is a
        # generator, so the workers start only when the first batch is asked for.
        assert self.batch_size is not None
        start = self._first_batch()
        self.sampler.skip_next = start * self.batch_size
        try:
            for number, batch in enumerate(copy_ahead(super().__iter__(), self.copy_to), start):
                self._given = number + 1
                yield batch
        except UserError as error:  # a worker's error has its traceback in the message
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
    """Make a loader whose worker processes decode the images.

    It gives the same batches as ``ResidentLoader``. The arguments that are not listed here are
    those of ``OrderedLoader``.

    Args:
        image_set: the images.
        num_workers: number of worker processes, which are kept from epoch to epoch; with 0, this
            process decodes.
        device: a CUDA device to which each batch is copied ahead of time, from page-locked memory;
            None, and any other device, leaves the batches on the CPU.
        indexed: whether to give pretraining batches; False gives validation batches.

    Raises:
        UserError: while iterating, an image cannot be read.
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
        # Starting workers draws a random number. A resumed run starts them once more, so that
        # number must not come from the generator that training uses.
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


def number_of_images(loader: Any) -> int:
    """How many images a training loader, of either host, has in all processes together."""
    return len(loader.dataset)


def in_order(loader: Any, batch_size: int, numbers: Iterable[int]) -> Iterator[torch.Tensor]:
    """Yield batches of the images of a training loader, of either host, in the data set's order.

    Args:
        loader: the loader. It is neither advanced nor changed.
        batch_size: number of images in a batch; the last one may be smaller.
        numbers: which batches to yield, counted from 0.

    Yields:
        Images (B, 3, H, W) as the loader delivers them, in the first of its views.

    Raises:
        UserError: the loader delivers crops instead of images, or an image cannot be read.
    """
    if isinstance(loader, ResidentLoader):
        images = loader.tensors[0]
        for number in numbers:
            yield images[number * batch_size : (number + 1) * batch_size]
        return
    if not isinstance(loader, DataLoader):
        raise UserError(
            "A bank of targets needs a loader of whole images, and this one delivers crops: use "
            "another data.format than dali."
        )
    rows = range(number_of_images(loader))
    batches = [list(rows[n * batch_size : (n + 1) * batch_size]) for n in numbers]
    plain: DataLoader[Any] = DataLoader(
        loader.dataset,
        batch_sampler=batches,
        num_workers=loader.num_workers,
        collate_fn=loader.collate_fn,
        worker_init_fn=loader.worker_init_fn,
        generator=torch.Generator(),  # starting workers must not draw from the run's generator
    )
    for _, views, _ in plain:
        yield views if isinstance(views, torch.Tensor) else views[0]
