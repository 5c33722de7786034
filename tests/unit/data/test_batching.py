"""Batches contain each item once, with similar lengths, in an order set by seed and epoch."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tutelage.data.batching import BucketBatchSampler
from tutelage.errors import ConfigError


@settings(deadline=None)
@given(
    st.lists(st.integers(1, 128), max_size=120),
    st.integers(1, 17),
    st.integers(-5, 2**40),
    st.integers(0, 50),
    st.booleans(),
)
def test_each_item_once_and_the_same_every_time(
    lengths: list[int], size: int, seed: int, epoch: int, shuffle: bool
) -> None:
    sampler = BucketBatchSampler(lengths, size, seed=seed, epoch=epoch, shuffle=shuffle)
    batches = list(sampler)
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    assert len(batches) == len(sampler)
    assert all(1 <= len(batch) <= size for batch in batches)
    assert (
        list(sampler)
        == batches
        == list(BucketBatchSampler(lengths, size, seed=seed, epoch=epoch, shuffle=shuffle))
    )


def test_seed_and_epoch_change_the_order() -> None:
    lengths = [random.Random(0).randint(3, 40)] * 200
    orders = {
        str(list(BucketBatchSampler(lengths, 8, seed=seed, epoch=epoch)))
        for seed in range(3)
        for epoch in range(3)
    }
    assert len(orders) == 9


def test_the_global_random_state_is_neither_read_nor_moved() -> None:
    import numpy as np

    np.random.seed(1)
    first = list(BucketBatchSampler(range(1, 60), 8, seed=0, epoch=0))
    state = np.random.get_state()[1].tolist()
    np.random.seed(2)
    assert list(BucketBatchSampler(range(1, 60), 8, seed=0, epoch=0)) == first
    np.random.seed(1)
    assert np.random.get_state()[1].tolist() == state


def test_buckets_save_most_of_the_padding() -> None:
    draw = random.Random(0)
    lengths = [draw.randint(4, 60) for _ in range(1000)]

    def padded(batches: list[list[int]]) -> int:
        return sum(max(lengths[i] for i in batch) * len(batch) for batch in batches)

    order = draw.sample(range(1000), 1000)
    plain = padded([order[start : start + 16] for start in range(0, 1000, 16)]) - sum(lengths)
    bucketed = padded(list(BucketBatchSampler(lengths, 16, seed=1, epoch=0))) - sum(lengths)
    assert bucketed < 0.35 * plain


def test_evaluation_goes_from_short_to_long() -> None:
    assert list(BucketBatchSampler([5, 1, 3, 1], 2, shuffle=False)) == [[1, 3], [2, 0]]


def test_a_batch_size_below_one_is_refused() -> None:
    with pytest.raises(ConfigError, match="batch size is 0"):
        BucketBatchSampler([1], 0)
