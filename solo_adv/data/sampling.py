"""Which images come when, for resident and streamed images, on any number of processes."""

from collections.abc import Iterator

import numpy as np
import torch
from torch.utils.data import Dataset, DistributedSampler


class EpochSampler(DistributedSampler[int]):
    """Indices of one process in one epoch, drawn from (seed, epoch) alone.

    It is a ``DistributedSampler`` so that Lightning keeps it in distributed runs.

    Args:
        dataset: anything that has a length.
        shuffle: a new order every epoch; False: as stored.
        drop_last: all processes get equally many indices, the remainder is left out (train);
            False: every index belongs to exactly one process, counts may differ by one (test).
        seed: together with the epoch it fixes the order; 0 to 2**32 - 1.
        rank, world_size: which of how many processes this is.
    """

    def __init__(
        self,
        dataset: Dataset,
        *,
        shuffle: bool,
        drop_last: bool,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        super().__init__(dataset, world_size, rank, shuffle, seed, drop_last)
        self.count = len(dataset)  # type: ignore[arg-type]
        self.skip_next = 0

    def order(self) -> torch.Tensor:
        """Indices of this epoch, long (len(self),)."""
        if self.shuffle:
            # torch seeds by 32 bits: mix, so that neighbouring seeds and epochs share no order
            mixed = int(np.random.SeedSequence((self.seed, self.epoch)).generate_state(1)[0])
            order = torch.randperm(self.count, generator=torch.Generator().manual_seed(mixed))
        else:
            order = torch.arange(self.count)
        if self.drop_last:
            order = order[: self.count - self.count % self.num_replicas]
        return order[self.rank :: self.num_replicas]

    def __iter__(self) -> Iterator[int]:
        skip, self.skip_next = self.skip_next, 0
        return iter(self.order()[skip:].tolist())

    def __len__(self) -> int:
        remainder = 0 if self.drop_last else self.count % self.num_replicas
        return self.count // self.num_replicas + (self.rank < remainder)
