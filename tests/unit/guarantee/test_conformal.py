"""Sets of labels against numpy's quantile, and their coverage over simulated splits."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tutelage.guarantee.conformal import least_probability


@pytest.mark.parametrize(("count", "coverage"), [(9, 0.9), (10, 0.9), (57, 0.8), (99, 0.07)])
def test_the_quantile_is_the_finite_sample_one(count: int, coverage: float) -> None:
    right = np.random.default_rng(count).random(count)
    rank = round((count + 1) * coverage, 6)
    level = math.ceil(rank) / count
    expected = 1 - np.quantile(1 - right, level, method="inverted_cdf")
    assert least_probability(right, coverage) == pytest.approx(expected, abs=1e-12)


def test_too_few_texts_take_every_label() -> None:
    assert least_probability(np.array([0.9] * 8), 0.9) == 0.0
    assert least_probability(np.array([0.9] * 9), 0.9) == 0.9


@pytest.mark.parametrize("coverage", [0.8, 0.9])
def test_sets_cover_as_often_as_they_promise(coverage: float) -> None:
    rng = np.random.default_rng(1)
    splits, count, new = 400, 40, 200
    covered = 0.0
    for _ in range(splits):
        # Four decimals, as a student's, with ties.
        right = np.round(rng.beta(2, 1, count + new), 2)
        covered += (right[count:] >= least_probability(right[:count], coverage)).mean()
    share = covered / splits
    # The coverage of one split varies as a beta variable over splits.
    error = math.sqrt(coverage * (1 - coverage) * (1 / (count + 2) + 1 / new) / splits)
    assert coverage - 3 * error <= share <= coverage + 1 / (count + 1) + 0.02 + 3 * error
