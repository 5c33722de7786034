"""Weighted cross-entropy against a slow reference."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tutelage.errors import ConfigError
from tutelage.student.losses import CrossEntropyLoss


def reference(logits: list[list[float]], targets: list[list[float]], weights: list[float], smoothing: float) -> float:
    total = 0.0
    for row, target, weight in zip(logits, targets, weights, strict=True):
        top = max(row)
        log_sum = top + math.log(sum(math.exp(value - top) for value in row))
        for value, share in zip(row, target, strict=True):
            total -= weight * (share * (1 - smoothing) + smoothing / len(row)) * (value - log_sum)
    return total / sum(weights)


@st.composite
def batches(draw: st.DrawFn) -> tuple[list[list[float]], list[list[float]], list[float]]:
    rows, classes = draw(st.integers(1, 5)), draw(st.integers(2, 4))
    table = st.lists(st.lists(st.floats(-8, 8), min_size=classes, max_size=classes), min_size=rows, max_size=rows)
    raw = draw(st.lists(st.lists(st.floats(0.01, 1), min_size=classes, max_size=classes), min_size=rows, max_size=rows))
    targets = [[value / sum(row) for value in row] for row in raw]
    return draw(table), targets, draw(st.lists(st.floats(0.05, 2), min_size=rows, max_size=rows))


@settings(max_examples=40, deadline=None)
@given(batches(), st.floats(0, 0.9))
def test_it_is_the_weighted_cross_entropy(batch: tuple[list[list[float]], list[list[float]], list[float]], smoothing: float) -> None:
    loss = CrossEntropyLoss(smoothing)(*(torch.tensor(part, dtype=torch.float64) for part in batch))
    assert float(loss) == pytest.approx(reference(*batch, smoothing), rel=1e-9)


def test_hard_targets_are_those_of_torch() -> None:
    logits, gold = torch.randn(6, 3, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 2, 1, 1, 0, 2])
    loss = CrossEntropyLoss(0.1)(logits, torch.nn.functional.one_hot(gold, 3).float(), torch.ones(6))
    torch.testing.assert_close(loss, torch.nn.functional.cross_entropy(logits, gold, label_smoothing=0.1))


def test_a_row_of_no_weight_teaches_nothing() -> None:
    logits = torch.tensor([[2.0, 0.0], [0.0, 3.0]], requires_grad=True)
    targets = torch.tensor([[0.0, 1.0], [0.0, 1.0]])
    CrossEntropyLoss()(logits, targets, torch.tensor([0.0, 1.0])).backward()
    assert logits.grad is not None
    assert logits.grad[0].tolist() == [0.0, 0.0]
    assert logits.grad[1].abs().sum() > 0


def test_a_batch_of_no_weight_is_zero_and_moves_nothing() -> None:
    logits = torch.tensor([[2.0, 0.0]], requires_grad=True)
    loss = CrossEntropyLoss()(logits, torch.tensor([[0.0, 1.0]]), torch.zeros(1))
    loss.backward()
    assert loss.item() == 0.0
    assert logits.grad is not None
    assert logits.grad.tolist() == [[0.0, 0.0]]


@pytest.mark.parametrize("smoothing", [-0.1, 1.0])
def test_smoothing_is_a_share(smoothing: float) -> None:
    with pytest.raises(ConfigError, match=rf"loss.label_smoothing={smoothing} must be in \[0, 1\)"):
        CrossEntropyLoss(smoothing)
