"""Supervised contrastive loss against a slow double loop, and inside the student's step."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.helpers.loss_targets import LossBatch, loss_batches, targets

from tutelage.errors import ConfigError
from tutelage.student.losses.contrastive import ContrastiveLoss
from tutelage.student.losses.cross_entropy import CrossEntropyLoss
from tutelage.student.losses.protocol import Targets


def features_of(taught: Targets, seed: int = 0) -> torch.Tensor:
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(*taught.weights.shape, 4, generator=rng, dtype=torch.float64)


def contrast(loss: ContrastiveLoss, features: torch.Tensor, taught: Targets) -> torch.Tensor:
    return loss.contrast(torch.nn.Identity(), {}, features, taught)


def reference(
    features: torch.Tensor, taught: Targets, temperature: float
) -> dict[tuple[int, ...], float]:
    """SCL of each unit of weight above 0, by its formula."""
    units = [tuple(index) for index in taught.weights.nonzero().tolist()]

    def similarity(one: tuple[int, ...], other: tuple[int, ...]) -> float:
        a, b = features[one].tolist(), features[other].tolist()
        product = sum(x * y for x, y in zip(a, b, strict=True))
        return product / math.hypot(*a) / math.hypot(*b) / temperature

    losses = {}
    for unit in units:
        others = [other for other in units if other != unit]
        same = [one for one in others if torch.equal(taught.hard[one], taught.hard[unit])]
        total = sum(math.exp(similarity(unit, other)) for other in others)
        logs = [math.log(math.exp(similarity(unit, other)) / total) for other in same]
        losses[unit] = -sum(logs) / len(logs) if logs else 0.0
    return losses


@settings(max_examples=40, deadline=None)
@given(loss_batches(), st.floats(0, 0.99), st.floats(0.05, 2), st.integers(0, 99))
def test_it_is_its_formula(
    loss_batch: LossBatch, weight: float, temperature: float, seed: int
) -> None:
    loss, taught = ContrastiveLoss(weight, temperature), loss_batch.targets
    features = features_of(taught, seed).requires_grad_()
    losses = contrast(loss, features, taught)
    expected = reference(features, taught, temperature)
    assert losses.shape == taught.weights.shape
    for index, value in expected.items():
        assert losses[index].item() == pytest.approx(weight * value, rel=1e-9, abs=1e-9)
    assert not losses[taught.weights == 0].any()
    losses.sum().backward()
    assert features.grad is not None
    assert features.grad.isfinite().all()
    torch.testing.assert_close(
        loss(loss_batch.logits, taught),
        (1 - weight) * CrossEntropyLoss()(loss_batch.logits, taught),
    )


def test_rows_left_out_by_the_selector_are_nobody_s_neighbours() -> None:
    loss, taught = ContrastiveLoss(), targets([0, 1, 0, 1, 0], 2)
    features, keep = features_of(taught), [0, 1, 2, 4]
    chosen = replace(taught, weights=torch.tensor([1.0, 0.5, 2.0, 0.0, 1.0]).double())
    losses = contrast(loss, features, chosen)
    alone = contrast(loss, features[keep], targets([0, 1, 0, 0], 2))
    torch.testing.assert_close(losses[keep], alone)
    # The only one left of its class has nobody to be drawn to.
    assert (losses[1], losses[3]) == (0, 0)


@pytest.mark.parametrize("hard", [[0], [0, 1], [[0, -1], [-1, -1]], [[-1, -1]]])
def test_without_a_pair_there_is_no_loss_and_a_finite_gradient(hard: list[int]) -> None:
    taught = targets(hard, 2)
    features = features_of(taught).requires_grad_()
    losses = contrast(ContrastiveLoss(), features, taught)
    losses.sum().backward()
    assert not losses.any()
    assert features.grad is not None
    assert not features.grad.any()


def test_a_step_draws_a_class_together() -> None:
    taught = targets([0, 0, 1, 1], 2)
    features = features_of(taught).requires_grad_()
    loss = ContrastiveLoss()
    contrast(loss, features, taught).sum().backward()
    assert features.grad is not None
    after = features.detach() - 0.1 * features.grad

    def cosine(states: torch.Tensor, one: int, other: int) -> float:
        return float(torch.nn.functional.cosine_similarity(states[one], states[other], dim=0))

    for one, other in ((0, 1), (2, 3)):
        assert cosine(after, one, other) > cosine(features.detach(), one, other)


@pytest.mark.parametrize(
    ("weight", "temperature", "named"),
    [(1.0, 0.3, "weight=1.0"), (-0.1, 0.3, "weight=-0.1"), (0.9, 0.0, "temperature=0.0")],
)
def test_settings_in_their_ranges(weight: float, temperature: float, named: str) -> None:
    with pytest.raises(ConfigError, match=f"loss.{named} must be"):
        ContrastiveLoss(weight, temperature)
