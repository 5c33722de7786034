"""KL divergence and its mix with cross-entropy against a slow reference."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.helpers.loss_targets import LossBatch, loss_batches, softmax, targets

from tutelage.errors import ConfigError
from tutelage.student.losses.cross_entropy import CrossEntropyLoss
from tutelage.student.losses.soft_targets import SoftTargetLoss
from tutelage.student.losses.teacher_targets import TeacherTargets


@settings(max_examples=25, deadline=None)
@given(
    loss_batches(),
    st.floats(0, 1),
    st.sampled_from([0.5, 2.0]),
    st.sampled_from(["ignore", "uniform", "hard"]),
)
def test_it_is_the_mix_of_divergence_and_cross_entropy(
    loss_batch: LossBatch, share: float, temperature: float, off_label: str
) -> None:
    losses = SoftTargetLoss(share, temperature, off_label)(loss_batch.logits, loss_batch.targets)
    taught = TeacherTargets(temperature, off_label)(loss_batch.targets)
    for index, logits, hard, _, _ in loss_batch.units():
        p = softmax(logits)
        divergence = sum(
            t * math.log(t / q) for t, q in zip(taught[index].tolist(), p, strict=True) if t > 0
        )
        assert float(losses[index]) == pytest.approx(
            share * divergence - (1 - share) * math.log(p[hard]), rel=1e-9, abs=1e-9
        )


@settings(max_examples=15, deadline=None)
@given(loss_batches(), st.floats(0, 1))
def test_its_gradient_is_that_of_cross_entropy_against_the_mixture(
    loss_batch: LossBatch, share: float
) -> None:
    logits = loss_batch.logits.clone().requires_grad_()
    SoftTargetLoss(share)(logits, loss_batch.targets).sum().backward()
    mixture = share * loss_batch.targets.teacher + (1 - share) * loss_batch.targets.hard
    assert logits.grad is not None
    for index, *_ in loss_batch.units():
        torch.testing.assert_close(
            logits.grad[index], loss_batch.logits[index].softmax(-1) - mixture[index]
        )


def test_agreeing_with_the_teacher_costs_nothing() -> None:
    teacher = [[0.7, 0.2, 0.1], [0.1, 0.1, 0.8]]
    losses = SoftTargetLoss()(
        torch.tensor(teacher).double().log(), targets([0, 2], 3, teacher=teacher)
    )
    torch.testing.assert_close(losses, torch.zeros(2).double())


def test_no_share_is_cross_entropy() -> None:
    logits = torch.randn(3, 4, generator=torch.Generator().manual_seed(0)).double()
    taught = targets([0, 1, 3], 4, teacher=[[0.25] * 4] * 3)
    torch.testing.assert_close(
        SoftTargetLoss(0.0)(logits, taught), CrossEntropyLoss()(logits, taught)
    )


@pytest.mark.parametrize("share", [-0.1, 1.5])
def test_a_share_is_a_share(share: float) -> None:
    with pytest.raises(ConfigError, match=rf"loss.share={share} must be in \[0, 1\]"):
        SoftTargetLoss(share)
