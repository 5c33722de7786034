"""Cross-entropy against a slow reference."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.helpers.loss_targets import LossBatch, loss_batches, softmax, targets

from tutelage.errors import ConfigError
from tutelage.student.losses.cross_entropy import CrossEntropyLoss


@settings(max_examples=25, deadline=None)
@given(loss_batches(), st.floats(0, 0.9))
def test_it_is_the_cross_entropy_of_each_unit(loss_batch: LossBatch, smoothing: float) -> None:
    losses = CrossEntropyLoss(smoothing)(loss_batch.logits, loss_batch.targets)
    for index, logits, hard, _, _ in loss_batch.units():
        p = softmax(logits)
        shares = [smoothing / len(p) + (1 - smoothing) * (k == hard) for k in range(len(p))]
        assert float(losses[index]) == pytest.approx(
            -sum(t * math.log(q) for t, q in zip(shares, p, strict=True)), rel=1e-9, abs=1e-12
        )


def test_hard_targets_are_those_of_torch() -> None:
    logits, gold = (
        torch.randn(6, 3, generator=torch.Generator().manual_seed(0)).double(),
        [0, 2, 1, 1, 0, 2],
    )
    losses = CrossEntropyLoss(0.1)(logits, targets(gold, 3))
    expected = torch.nn.functional.cross_entropy(
        logits, torch.tensor(gold), label_smoothing=0.1, reduction="none"
    )
    torch.testing.assert_close(losses, expected)


@pytest.mark.parametrize("smoothing", [-0.1, 1.0])
def test_smoothing_is_a_share(smoothing: float) -> None:
    with pytest.raises(ConfigError, match=rf"loss.label_smoothing={smoothing} must be in \[0, 1\)"):
        CrossEntropyLoss(smoothing)
