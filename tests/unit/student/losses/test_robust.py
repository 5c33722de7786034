"""Generalised and symmetric cross-entropy against slow references."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.helpers.loss_targets import LossBatch, loss_batches, softmax, targets

from tutelage.errors import ConfigError
from tutelage.student.losses.cross_entropy import CrossEntropyLoss
from tutelage.student.losses.robust import GeneralisedCrossEntropyLoss, SymmetricCrossEntropyLoss


@settings(max_examples=25, deadline=None)
@given(loss_batches(), st.floats(0.01, 1))
def test_generalised_is_its_formula(loss_batch: LossBatch, q: float) -> None:
    losses = GeneralisedCrossEntropyLoss(q)(loss_batch.logits, loss_batch.targets)
    for index, logits, hard, _, _ in loss_batch.units():
        assert float(losses[index]) == pytest.approx(
            (1 - softmax(logits)[hard] ** q) / q, rel=1e-7, abs=1e-9
        )


@pytest.mark.parametrize("q", [0.0, 1e-7])
def test_generalised_becomes_cross_entropy(q: float) -> None:
    logits, taught = (
        torch.randn(5, 3, generator=torch.Generator().manual_seed(1)).double(),
        targets([0, 1, 2, 0, 1], 3),
    )
    torch.testing.assert_close(
        GeneralisedCrossEntropyLoss(q)(logits, taught),
        CrossEntropyLoss()(logits, taught),
        rtol=1e-5,
        atol=1e-6,
    )


def test_generalised_pulls_less_on_what_the_student_finds_unlikely() -> None:
    logits = torch.tensor([[4.0, 0.0]], dtype=torch.float64, requires_grad=True)
    pulls = {}
    for q in (0.0, 0.7):
        (gradient,) = torch.autograd.grad(
            GeneralisedCrossEntropyLoss(q)(logits, targets([1], 2)).sum(), logits
        )
        pulls[q] = float(gradient.abs().sum())
    assert pulls[0.7] == pytest.approx(pulls[0.0] * float(logits.detach().softmax(-1)[0, 1]) ** 0.7)


@settings(max_examples=25, deadline=None)
@given(loss_batches(), st.floats(0, 2), st.floats(0.1, 2), st.floats(-8, -1))
def test_symmetric_is_its_formula(
    loss_batch: LossBatch, alpha: float, beta: float, floor: float
) -> None:
    losses = SymmetricCrossEntropyLoss(alpha, beta, floor)(loss_batch.logits, loss_batch.targets)
    for index, logits, hard, _, _ in loss_batch.units():
        p = softmax(logits)
        reverse = -sum(q * (0.0 if k == hard else floor) for k, q in enumerate(p))
        assert float(losses[index]) == pytest.approx(
            -alpha * math.log(p[hard]) + beta * reverse, rel=1e-9, abs=1e-9
        )


@pytest.mark.parametrize("q", [-0.1, 1.1])
def test_q_is_between_the_two_losses(q: float) -> None:
    with pytest.raises(ConfigError, match=rf"loss.q={q} must be in \[0, 1\]"):
        GeneralisedCrossEntropyLoss(q)


@pytest.mark.parametrize(("alpha", "beta"), [(-1.0, 1.0), (0.0, 0.0)])
def test_weights_are_not_negative(alpha: float, beta: float) -> None:
    with pytest.raises(ConfigError, match=f"loss.alpha={alpha} and loss.beta={beta}"):
        SymmetricCrossEntropyLoss(alpha, beta)


def test_the_logarithm_of_nothing_is_negative() -> None:
    with pytest.raises(ConfigError, match=r"loss.floor=0.0 replaces the logarithm of 0"):
        SymmetricCrossEntropyLoss(floor=0.0)
