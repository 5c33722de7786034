"""Matched calibration: every label gets its share of the texts, whatever its scores."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tutelage.errors import ConfigError
from tutelage.labelling.calibration import HALF, BatchCalibration, PriorMatching

PRIORS = st.sampled_from(["uniform", (0.6, 0.3, 0.1), (0.05, 0.05, 0.9)])


@settings(max_examples=60, deadline=None)
@given(
    arrays(np.float64, st.tuples(st.integers(1, 12), st.just(3)), elements=st.floats(-4, 0)), PRIORS
)
def test_the_mean_probability_of_each_label_is_its_prior(scores: np.ndarray, prior: object) -> None:
    calibrated = PriorMatching(prior).transform(scores)
    wanted = [1 / 3] * 3 if prior == "uniform" else prior
    np.testing.assert_allclose(calibrated.mean(axis=0), wanted, rtol=2e-4)


def test_a_bias_is_taken_away_whatever_it_is() -> None:
    dice = np.random.default_rng(0)
    scores = dice.normal(size=(50, 4))
    plain = PriorMatching().transform(scores)
    np.testing.assert_allclose(
        PriorMatching().transform(scores + dice.normal(0, 5, 4)), plain, atol=1e-3
    )


def test_a_label_whose_scores_hardly_vary_gets_its_texts_too() -> None:
    """The last label scores alike everywhere; it is right wherever all others are unlikely."""
    dice = np.random.default_rng(1)
    types = dice.normal(0, 3, (400, 4))
    truth = np.where(types.max(axis=1) < 1.5, 4, types.argmax(axis=1))
    scores = np.column_stack([types, dice.normal(0, 0.1, 400)])
    shares = {
        kind: np.bincount(kind().transform(scores).argmax(axis=1), minlength=5)[4] / 400
        for kind in (BatchCalibration, PriorMatching)
    }
    assert shares[BatchCalibration] < 0.1
    assert 0.15 < shares[PriorMatching] < 0.3
    right = {kind: (kind().transform(scores).argmax(axis=1) == truth).mean() for kind in shares}
    assert right[PriorMatching] > right[BatchCalibration]


def test_the_shares_are_of_every_batch_and_a_late_text_stands_on_those_before_it() -> None:
    scores = np.random.default_rng(2).normal([2.0, 0.0, -1.0], size=(60, 3))
    running = PriorMatching()
    running.transform(scores[:59])
    np.testing.assert_allclose(
        running.transform(scores[59:]), PriorMatching().transform(scores)[59:], atol=1e-9
    )
    np.testing.assert_allclose(PriorMatching().transform(scores[59:]), [[1 / 3] * 3], atol=1e-4)


def test_a_large_pool_is_sampled_from_end_to_end_and_a_full_memory_learns_no_more() -> None:
    scores = np.random.default_rng(3).normal(size=(900, 3))
    scores[300:, 0] += 4.0  # A sorted pool: the last two thirds have the first label.
    whole, sampled = PriorMatching().transform(scores), PriorMatching(keep=90)
    assert np.abs(sampled.transform(scores) - whole).max() < 0.2
    before = sampled.state_dict()
    assert sum(map(len, before["seen"])) == 90
    sampled.transform(scores[:10])
    assert sampled.state_dict() == before
    with pytest.raises(ConfigError, match=r"calibration.keep=0 must be 1 text or more"):
        PriorMatching(keep=0)


def test_a_label_that_no_text_can_have_ends_the_iteration_and_nothing_else() -> None:
    scores = np.array([[0.0, -1e4, -1e4]] * 3)
    calibrated = PriorMatching(iterations=5).transform(scores)
    assert np.isfinite(calibrated).all()
    np.testing.assert_allclose(calibrated.sum(axis=1), 1.0)


def test_an_estimated_prior_is_refused() -> None:
    with pytest.raises(ConfigError, match="cannot estimate it; calibration=batch can"):
        PriorMatching("estimated")


def test_half_of_the_bias_lies_between_none_and_all_of_it() -> None:
    scores = np.random.default_rng(4).normal([2.0, 0.0, -1.0], size=(60, 3))
    logs = scores - np.logaddexp.reduce(scores, axis=1, keepdims=True)
    none, half, whole = (
        np.log(PriorMatching(bias=part).transform(scores)) for part in (0.0, HALF, 1.0)
    )
    np.testing.assert_allclose(none, logs, atol=1e-9)
    # The log-ratios of the labels move half as far as under the whole bias.
    np.testing.assert_allclose(
        half - half[:, :1], ((none - none[:, :1]) + (whole - whole[:, :1])) / 2, atol=1e-9
    )
    assert (PriorMatching(bias=HALF).name, PriorMatching().name) == ("half_matched", "matched")
    with pytest.raises(ConfigError, match=r"calibration.bias=1.5 must be between 0 and 1"):
        PriorMatching(bias=1.5)
