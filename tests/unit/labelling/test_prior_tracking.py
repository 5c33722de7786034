"""Tracked calibration: the shares of an unlabelled pool, found from the texts themselves."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tutelage.errors import ConfigError
from tutelage.labelling.calibration import PriorMatching, suited_calibration
from tutelage.labelling.calibration_prior import shares_by_name, tracked_prior
from tutelage.labelling.calibration_tracking import PriorTracking


def synthetic(
    shares: tuple[float, ...], texts: int, seed: int, signal: float = 4.0
) -> tuple[np.ndarray, np.ndarray]:
    """Scores of an unbiased teacher, and the classes: Gaussian evidence, exact likelihoods."""
    rng = np.random.default_rng(seed)
    gold = rng.choice(len(shares), size=texts, p=shares)
    # For unit noise around mean 'signal' on the own class, the log-likelihood ratio is linear.
    evidence = rng.normal(size=(texts, len(shares))) + signal**0.5 * np.eye(len(shares))[gold]
    scores = signal**0.5 * evidence
    return scores - np.log(np.exp(scores).sum(axis=1, keepdims=True)), gold


def slow_prior(scores: np.ndarray, strength: float) -> list[float]:
    labels = scores.shape[1]
    prior = [1 / labels] * labels
    for _ in range(3000):
        counts = [strength / labels] * labels
        for row in scores:
            parts = [p * np.exp(score) for p, score in zip(prior, row, strict=True)]
            for label, part in enumerate(parts):
                counts[label] += part / sum(parts)
        found = [count / (strength + len(scores)) for count in counts]
        change = [new - old for new, old in zip(found, prior, strict=True)]
        prior = [p + step for p, step in zip(prior, change, strict=True)]
        if max(map(abs, change)) < 1e-7:
            break
    return prior


def test_the_shares_are_those_of_a_slow_maximisation() -> None:
    scores, _ = synthetic((0.7, 0.2, 0.1), 30, seed=1)
    np.testing.assert_allclose(
        tracked_prior(scores, 5.0, 3000, 1e-7), slow_prior(scores, 5.0), atol=1e-5
    )


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 999), st.sampled_from([(0.05, 0.95), (0.15, 0.85), (0.6, 0.25, 0.15)]))
def test_the_shares_come_near_the_true_ones_as_texts_are_scored(
    seed: int, shares: tuple[float, ...]
) -> None:
    scores, _ = synthetic(shares, 4000, seed)
    errors = [
        float(np.abs(tracked_prior(scores[:count], 20.0, 2000, 1e-6) - shares).max())
        for count in (5, 4000)
    ]
    assert errors[1] < 0.05
    assert errors[1] < errors[0]


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 999), st.integers(2, 6))
def test_a_pool_of_equal_shares_is_labelled_as_well_as_by_matching(seed: int, labels: int) -> None:
    scores, gold = synthetic((1 / labels,) * labels, 600, seed)
    right = [
        (one.transform(scores).argmax(axis=1) == gold).mean()
        for one in (PriorTracking(), PriorMatching())
    ]
    assert right[0] > right[1] - 0.02


@pytest.mark.parametrize("share", [0.05, 0.1, 0.15])
def test_a_rare_class_is_found_where_equal_shares_ruin_the_labels(share: float) -> None:
    scores, gold = synthetic((share, 1 - share), 1000, seed=3, signal=6.0)
    right = {
        type(one): (one.transform(scores).argmax(axis=1) == gold).mean()
        for one in (PriorTracking(), PriorMatching())
    }
    assert right[PriorTracking] > 1 - share
    assert right[PriorTracking] > right[PriorMatching] + 0.1


def test_the_full_bias_keeps_equal_shares() -> None:
    scores, _ = synthetic((0.8, 0.2), 100, seed=4)
    np.testing.assert_allclose(
        PriorTracking(bias=1.0).transform(scores), PriorMatching().transform(scores), atol=1e-3
    )


def test_few_texts_hardly_move_the_shares() -> None:
    certain = np.log([[0.999, 0.001]] * 2)
    shares = tracked_prior(certain, 20.0, 500, 1e-6)
    assert 0.5 < shares[0] < 0.56


def test_generated_texts_keep_the_asked_classes_and_move_no_share_of_the_pool() -> None:
    pool, _ = synthetic((0.9, 0.1), 200, seed=5)
    written, _ = synthetic((0.5, 0.5), 40, seed=6)
    asked = np.array([20.0, 20.0])
    both = PriorTracking(asked=0.9)
    calibrated = both.transform(written, asked)
    np.testing.assert_allclose(
        calibrated, PriorMatching(asked=0.9).transform(written, asked), atol=1e-12
    )
    np.testing.assert_array_equal(both.transform(pool), PriorTracking().transform(pool))


def test_a_resumed_run_goes_on_with_the_same_shares() -> None:
    scores, _ = synthetic((0.9, 0.1), 60, seed=7)
    whole, begun, resumed = PriorTracking(keep=50), PriorTracking(keep=50), PriorTracking(keep=50)
    for one in (whole, begun):
        one.transform(scores[:40])
    resumed.load_state_dict(json.loads(json.dumps(begun.state_dict())))
    np.testing.assert_array_equal(resumed.transform(scores[40:]), whole.transform(scores[40:]))
    assert sum(map(len, resumed.state_dict()["seen"])) == 50


def test_a_label_that_no_text_was_scored_for_stays_at_probability_0() -> None:
    scores = np.array([[-0.1, -2.0, -np.inf], [-3.0, -0.2, -np.inf]])
    calibrated = PriorTracking().transform(scores)
    np.testing.assert_allclose(calibrated.sum(axis=1), 1)
    assert (calibrated[:, 2] == 0).all()


@pytest.mark.parametrize(
    ("setting", "value"), [("strength", 0), ("growth", -1), ("bias", 1.1), ("bias", -0.1)]
)
def test_a_setting_out_of_range_is_named_with_its_value(setting: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=rf"calibration\.{setting}={value:g} must be"):
        PriorTracking(**{setting: value})


def test_labels_without_a_share_have_equal_parts_of_the_rest() -> None:
    assert shares_by_name({"spam": 0.1}, ("ham", "spam", "news")) == [0.45, 0.1, 0.45]
    assert shares_by_name({"spam": 0.1, "ham": 0.9}, ("ham", "spam")) == [0.9, 0.1]
    with pytest.raises(ConfigError, match=r"'span'.*Did you mean 'spam'"):
        shares_by_name({"span": 0.1}, ("ham", "spam"))
    with pytest.raises(ConfigError, match=r"leaves no share for ham"):
        shares_by_name({"spam": 1.0}, ("ham", "spam"))


@pytest.mark.parametrize(
    ("capable", "labels", "prior", "name"),
    [
        (True, 2, "auto", "tracked"),
        (True, 3, "auto", "half_matched"),
        (True, 2, "uniform", "half_matched"),
        (True, 2, [0.1, 0.9], "matched"),
        (False, 2, "auto", "matched"),
        (False, 3, "auto", "matched"),
    ],
)
def test_the_default_tracks_two_classes_of_a_capable_teacher_unless_shares_are_given(
    capable: bool, labels: int, prior: Any, name: str
) -> None:
    assert suited_calibration(capable, prior, labels=labels).name == name
