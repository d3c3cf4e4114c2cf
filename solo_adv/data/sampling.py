"""The order of the images, for resident and streamed images and any number of processes."""

from collections.abc import Iterator

import numpy as np
import torch
from torch.utils.data import Dataset, DistributedSampler


class EpochSampler(DistributedSampler[int]):
    """The indices of one process in one epoch, drawn from (seed, epoch) alone.

    It is a ``DistributedSampler`` because Lightning replaces other samplers in distributed runs.

    Args:
        dataset: anything that has a length.
        shuffle: whether every epoch has a new order; False keeps the stored order.
        drop_last: if true (for training), all processes get equally many indices and the remainder
            is left out. If false (for testing), every index belongs to exactly one process, and
            their counts may differ by one.
        seed: fixes the order together with the epoch; 0 to 2**32 - 1.
        rank: number of this process.
        world_size: how many processes there are.
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
        """The indices of this process in this epoch, long (len(self),)."""
        if self.shuffle:
            # torch uses only 32 bits of a seed, so seed and epoch are mixed: otherwise the epochs
            # of runs with neighbouring seeds would share orders.
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
