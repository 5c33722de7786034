"""Length-bucketed batches whose order is a pure function of seed and epoch, so that a resumed run repeats them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from torch.utils.data import Sampler

from tutelage.errors import ConfigError

_BUCKET = 16
"""Batches that are sorted by length together: enough to save most of the padding, few enough to keep the order random."""


class BucketBatchSampler(Sampler[list[int]]):
    """Batches of indices with similar lengths. It has no state: iterating twice gives the same batches.

    Args:
        lengths: token count of each item.
        batch_size: items a batch; the last one may be smaller.
        seed, epoch: decide the order; any integers.
        shuffle: False gives all items from short to long, for evaluation.

    Raises:
        ConfigError: ``batch_size`` is below 1.
    """

    def __init__(
        self,
        lengths: Sequence[int],
        batch_size: int,
        *,
        seed: int = 0,
        epoch: int = 0,
        shuffle: bool = True,
    ) -> None:
        if batch_size < 1:
            raise ConfigError(f"The batch size is {batch_size}; it must be 1 or more.")
        self.lengths = np.asarray(lengths, dtype=np.int64)
        self.batch_size = batch_size
        self.seed = seed
        self.epoch = epoch
        self.shuffle = shuffle

    def __len__(self) -> int:
        """The number of batches."""
        return -(-len(self.lengths) // self.batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        """Give each index once."""
        if not self.shuffle:
            order = np.argsort(self.lengths, kind="stable")
            for start in range(0, len(order), self.batch_size):
                yield order[start : start + self.batch_size].tolist()
            return
        # SeedSequence takes no negative numbers.
        random = np.random.default_rng([self.seed % 2**63, self.epoch % 2**63])
        order = random.permutation(len(self.lengths))
        batches: list[list[int]] = []
        for start in range(0, len(order), self.batch_size * _BUCKET):
            bucket = order[start : start + self.batch_size * _BUCKET]
            bucket = bucket[np.argsort(self.lengths[bucket], kind="stable")]
            batches += [
                bucket[index : index + self.batch_size].tolist()
                for index in range(0, len(bucket), self.batch_size)
            ]
        for index in random.permutation(len(batches)):
            yield batches[index]
