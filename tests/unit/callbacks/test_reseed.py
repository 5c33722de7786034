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


def test_each_device_draws_its_own() -> None:
    trainer, module = cast(Any, SimpleNamespace(current_epoch=1)), cast(Any, None)
    found = []
    for rank in (0, 1, 2):
        Reseed(5, rank).on_train_batch_start(trainer, module, None, 3)
        found.append(tuple(torch.rand(3).tolist()))
    assert len({*found}) == 3
    assert list(found[0]) == drawn(5, 1, 3)
