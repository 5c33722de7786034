"""Candidate sets against a slow reference, and the gradient that they promise."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.helpers.loss_targets import LossBatch, loss_batches, softmax, targets

from tutelage.errors import ConfigError
from tutelage.student.losses.candidate_sets import CandidateSetLoss
from tutelage.student.losses.cross_entropy import CrossEntropyLoss


def candidates(teacher: list[float], hard: int, mass: float) -> set[int]:
    """The teacher's most probable labels up to ``mass``, and the target."""
    found, total = {hard}, 0.0
    for label in sorted(range(len(teacher)), key=lambda one: (-teacher[one], one)):
        if total >= mass - 1e-6 or not teacher[label]:
            break
        found.add(label)
        total += teacher[label]
    return found


@settings(max_examples=50, deadline=None)
@given(
    loss_batches(),
    st.floats(0.1, 1),
    st.floats(0, 1),
    st.sampled_from([0.0, 0.5]),
    st.sampled_from([0.0, 0.25, 0.75]),
)
def test_it_is_its_formula(
    loss_batch: LossBatch, mass: float, refine: float, warmup: float, progress: float
) -> None:
    found = CandidateSetLoss(mass, refine, warmup)(
        loss_batch.logits, replace(loss_batch.targets, progress=progress)
    )
    share = refine * (min(progress / warmup, 1.0) if warmup else 1.0)
    for index, logits, hard, teacher, _ in loss_batch.units():
        p, among = softmax(logits), candidates(teacher, hard, mass)
        taught, own = (sum(values[one] for one in among) for values in (teacher, p))
        expected = -sum(
            ((1 - share) * teacher[one] / taught + share * p[one] / own) * math.log(p[one])
            for one in among
        )
        assert float(found[index]) == pytest.approx(expected, rel=1e-6, abs=1e-9)


def test_a_sure_teacher_teaches_its_label_alone() -> None:
    logits = torch.randn(2, 3, generator=torch.Generator().manual_seed(0)).double()
    sure = targets([0, 2], 3, teacher=[[0.92, 0.05, 0.03], [0.02, 0.03, 0.95]], progress=0.9)
    torch.testing.assert_close(CandidateSetLoss()(logits, sure), CrossEntropyLoss()(logits, sure))


def test_a_target_that_the_teacher_finds_unlikely_is_a_candidate_all_the_same() -> None:
    taught = targets([2], 3, teacher=[[0.95, 0.05, 0.0]])
    assert CandidateSetLoss().candidates(taught).tolist() == [[True, False, True]]


@settings(max_examples=25, deadline=None)
@given(loss_batches(), st.floats(0.1, 1))
def test_once_refined_its_gradient_is_that_of_the_candidates_total_probability(
    loss_batch: LossBatch, mass: float
) -> None:
    loss, taught = CandidateSetLoss(mass, refine=1.0, warmup=0.0), loss_batch.targets
    logits, again = (loss_batch.logits.clone().requires_grad_() for _ in range(2))
    weights = taught.weights
    (loss(logits, taught) * weights).sum().backward()
    inside = again.log_softmax(dim=-1).masked_fill(~loss.candidates(taught), -torch.inf)
    (-inside.logsumexp(dim=-1) * weights).sum().backward()
    torch.testing.assert_close(logits.grad, again.grad)


def test_labels_outside_the_candidates_lose_probability() -> None:
    taught = targets([0], 4, teacher=[[0.5, 0.45, 0.04, 0.01]])
    logits = torch.zeros(1, 4, dtype=torch.float64)
    loss = CandidateSetLoss(refine=1.0, warmup=0.0)
    for _ in range(20):
        logits = logits.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(loss(logits, taught).sum(), logits)
        logits = logits - gradient
    p = logits.detach().softmax(dim=-1)[0]
    assert float(p[2] + p[3]) < 0.05
    # The student was even between the two candidates, and nothing moves it to one of them.
    assert float(p[0]) == pytest.approx(float(p[1]))


@pytest.mark.parametrize(
    "given_value", [{"mass": 0.0}, {"mass": 1.1}, {"refine": -0.1}, {"warmup": 1.5}]
)
def test_settings_in_their_ranges(given_value: dict[str, float]) -> None:
    ((name, value),) = given_value.items()
    with pytest.raises(ConfigError, match=rf"loss\.{name}={value} must be"):
        CandidateSetLoss(**given_value)
