"""The units TruncatedLoss leaves out at each point of a stage."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.helpers.loss_targets import LossBatch, loss_batches, targets

from tutelage.errors import ConfigError
from tutelage.student.losses.cross_entropy import CrossEntropyLoss
from tutelage.student.losses.robust import TruncatedLoss


@settings(max_examples=30, deadline=None)
@given(loss_batches(), st.sampled_from([0.0, 0.25, 0.5, 0.9]), st.floats(0, 0.99))
def test_the_largest_losses_are_left_out(
    loss_batch: LossBatch, forget: float, progress: float
) -> None:
    loss = TruncatedLoss(forget, 0.5)
    losses = loss(loss_batch.logits, loss_batch.targets)
    torch.testing.assert_close(losses, CrossEntropyLoss()(loss_batch.logits, loss_batch.targets))
    factors = loss.keep(losses, dataclasses.replace(loss_batch.targets, progress=progress))
    units = sorted((float(losses[index]), index) for index, *_ in loss_batch.units())
    count = math.floor(forget * min(progress / 0.5, 1) * len(units) + 1e-9)
    kept = [index for _, index in units[: len(units) - count]]
    expected = torch.ones_like(losses)
    for index in {index for _, index in units} - set(kept):
        expected[index] = 0
    assert factors.tolist() == expected.tolist()


def test_the_share_grows_over_the_warm_up() -> None:
    loss = TruncatedLoss(0.4, 0.5)
    assert [loss.share(progress) for progress in (0, 0.25, 0.5, 0.99)] == pytest.approx(
        [0, 0.2, 0.4, 0.4]
    )
    assert TruncatedLoss(0.4, 0.0).share(0.0) == 0.4


def test_words_are_left_out_among_words_alone() -> None:
    taught = targets([[0, -1, 1], [0, -1, -1]], 2, progress=0.9)
    factors = TruncatedLoss(0.4, 0.0).keep(
        torch.tensor([[1.0, 99.0, 3.0], [2.0, 98.0, 97.0]]), taught
    )
    assert factors.tolist() == [[1, 1, 0], [1, 1, 1]]


def test_a_share_is_not_cut_by_rounding_and_ties_leave_out_no_more() -> None:
    taught = targets([0] * 100, 2, progress=0.5)
    assert TruncatedLoss(0.29, 0.0).keep(torch.ones(100), taught).sum() == 71


def test_a_small_batch_and_an_empty_one_lose_nothing() -> None:
    assert TruncatedLoss(0.9, 0.0).keep(torch.ones(1), targets([0], 2)).tolist() == [1]
    assert TruncatedLoss(0.9, 0.0).keep(torch.ones(1, 2), targets([[-1, -1]], 2)).tolist() == [
        [1, 1]
    ]


@pytest.mark.parametrize(
    ("forget", "warmup", "named"),
    [(1.0, 0.3, "forget=1.0"), (-0.1, 0.3, "forget=-0.1"), (0.2, 1.5, "warmup=1.5")],
)
def test_shares_are_shares(forget: float, warmup: float, named: str) -> None:
    with pytest.raises(ConfigError, match=f"loss.{named} must be in"):
        TruncatedLoss(forget, warmup)
