"""The threshold against slow references, and its guarantee over simulated splits."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy.stats import binomtest

from tutelage.guarantee.threshold import Kept, fewest_texts, lowest_threshold, texts_missing


def bound(right: int, texts: int, risk: float) -> float:
    """The one-sided Clopper-Pearson bound, by another route than the code."""
    interval = binomtest(right, texts, alternative="greater").proportion_ci(1 - risk, "exact")
    return float(interval.low)


def drawn(rng: Any, count: int, overconfident: bool) -> tuple[Any, Any]:
    """Predictions whose probability of being right grows with their confidence, with ties."""
    confidences = np.round(rng.beta(3, 1, count), 2)
    chances = confidences ** (1.5 if overconfident else 0.5)
    return confidences, rng.random(count) < chances


def slow(confidences: Any, right: Any, accuracy: float, risk: float) -> float | None:
    """The same walk in words: the levels of the starts, carried along while tests pass."""
    count = len(right)
    number = 1
    while fewest_texts(accuracy, risk / (number + 1)) * 2**number <= count:
        number += 1
    starts = [fewest_texts(accuracy, risk / number) * 2**index for index in range(number)]
    found, level = None, 0.0
    values = sorted(set(confidences.tolist()), reverse=True)
    for value, below in zip(values, [*values[1:], None], strict=True):
        kept = right[confidences >= value]
        while starts and len(kept) >= starts[0]:
            starts.pop(0)
            level += risk / number
        if level and bound(int(kept.sum()), len(kept), level) >= accuracy:
            found = 0.0 if below is None else round(below + 1e-4, 4)
        else:
            level = 0.0
    return found


@pytest.mark.parametrize("accuracy", [0.8, 0.95])
@pytest.mark.parametrize("wrong", [0, 1, 7])
def test_fewest_texts_are_the_fewest(accuracy: float, wrong: int) -> None:
    found = fewest_texts(accuracy, 0.05, wrong)
    assert bound(found - wrong, found, 0.05) >= accuracy
    assert bound(found - 1 - wrong, found - 1, 0.05) < accuracy
    if not wrong:
        assert found == math.ceil(math.log(0.05) / math.log(accuracy))


@pytest.mark.parametrize("seed", range(12))
def test_the_threshold_is_that_of_the_slow_walk(seed: int) -> None:
    rng = np.random.default_rng(seed)
    confidences, right = drawn(rng, 30 * (seed + 1), overconfident=False)
    kept = lowest_threshold(confidences, right, 0.85, 0.1)
    assert kept.threshold == slow(confidences, right, 0.85, 0.1)
    if kept.threshold is not None:
        held = confidences >= kept.threshold
        assert (kept.texts, kept.right) == (held.sum(), right[held].sum())
        assert kept.bound is not None
        assert 0.85 <= kept.bound <= bound(kept.right, kept.texts, 0.1) + 1e-9


@pytest.mark.parametrize("overconfident", [False, True])
@pytest.mark.parametrize("count", [100, 400])
def test_the_target_is_missed_in_no_more_splits_than_the_risk(
    count: int, overconfident: bool
) -> None:
    rng = np.random.default_rng(count)
    accuracy, risk, splits = 0.85, 0.1, 400
    everything, truth = drawn(rng, 200_000, overconfident)
    missed = found = 0
    for _ in range(splits):
        kept = lowest_threshold(*drawn(rng, count, overconfident), accuracy, risk)
        if kept.threshold is not None:
            found += 1
            missed += truth[everything >= kept.threshold].mean() < accuracy
    # Three standard errors above the risk.
    assert missed <= splits * risk + 3 * math.sqrt(splits * risk * (1 - risk))
    assert found > splits * (0.25 if count == 100 else 0.8), "a threshold that is never found"


def test_nothing_is_kept_where_nothing_is_sure_and_more_texts_are_told() -> None:
    confidences = np.linspace(0.3, 0.9, 50)
    right = np.arange(50) != 49  # wrong where it is surest
    assert lowest_threshold(confidences, right, 0.95, 0.05) == Kept(None, 0, 0, None)
    missing = texts_missing(confidences, right, 0.95, 0.05)
    # 93 texts make up for one mistake; 59 without any would all have to be new.
    assert missing == min(93 - 50, 59)
    assert texts_missing(np.array([0.9]), np.array([False]), 0.95, 0.05) == 59


def test_everything_is_kept_where_all_is_right() -> None:
    kept = lowest_threshold(np.linspace(0.3, 0.9, 200), np.ones(200, dtype=bool), 0.95, 0.05)
    assert (kept.threshold, kept.texts, kept.right) == (0.0, 200, 200)
