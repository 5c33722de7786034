"""A batch's randomness follows from the seed, the epoch and its number alone."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import torch

from tutelage.callbacks.housekeeping import Reseed


def drawn(seed: int, epoch: int, batch: int = 0) -> list[float]:
    module: Any = None
    Reseed(seed).on_train_batch_start(
        cast(Any, SimpleNamespace(current_epoch=epoch)), module, None, batch
    )
    values: list[float] = torch.rand(3).tolist()
    return values


def test_the_same_batch_draws_the_same() -> None:
    first = drawn(0, 4, 2)
    torch.rand(7)
    assert drawn(0, 4, 2) == first


def test_batches_epochs_and_seeds_differ() -> None:
    assert (
        len(
            {
                tuple(drawn(seed, epoch, batch))
                for seed in (0, 1, 2)
                for epoch in (0, 1)
                for batch in (0, 1)
            }
        )
        == 12
    )
