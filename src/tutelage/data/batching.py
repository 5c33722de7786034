"""Length-bucketed batches in an order that is a pure function of seed and epoch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from torch.utils.data import Sampler

from tutelage.errors import ConfigError

_BUCKET = 16
"""Batches sorted by length together.

Enough to save most of the padding, and few enough to keep the order random.
"""


class BucketBatchSampler(Sampler[list[int]]):
    """Yields batches of indices of items with similar lengths.

    The sampler is stateless: iterating twice gives the same batches, and so does a resumed run.

    Args:
        lengths: Token count of each item.
        batch_size: Items per batch; the last batch may be smaller.
        seed: Together with ``epoch`` determines the order; any integer.
        epoch: Index of the epoch; any integer.
        shuffle: False yields all items from short to long, for evaluation.

    Raises:
        ConfigError: If ``batch_size`` is below 1.
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
        """Return the number of batches."""
        return -(-len(self.lengths) // self.batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        """Yield every index exactly once, in lists of at most ``batch_size``."""
        if not self.shuffle:
            order = np.argsort(self.lengths, kind="stable")
            for start in range(0, len(order), self.batch_size):
                yield order[start : start + self.batch_size].tolist()
            return
        # SeedSequence refuses negative numbers.
        random = np.random.default_rng([self.seed % 2**63, self.epoch % 2**63])
        # Shuffle, sort by length inside buckets of batches, then shuffle the batches.
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
