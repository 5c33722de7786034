"""An epoch's randomness follows from the seed and its number alone."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import torch

from tutelage.callbacks.reseed import Reseed


def drawn(seed: int, epoch: int) -> list[float]:
    module: Any = None
    Reseed(seed).on_train_epoch_start(cast(Any, SimpleNamespace(current_epoch=epoch)), module)
    values: list[float] = torch.rand(3).tolist()
    return values


def test_the_same_epoch_draws_the_same() -> None:
    first = drawn(0, 4)
    torch.rand(7)
    assert drawn(0, 4) == first


def test_epochs_and_seeds_differ() -> None:
    assert len({tuple(drawn(seed, epoch)) for seed in (0, 1, 2) for epoch in (0, 1)}) == 6
