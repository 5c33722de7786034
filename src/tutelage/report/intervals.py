"""95 % confidence intervals of metrics measured on a test set."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tutelage.records import Outcome
from tutelage.tasks.spans import read_spans

DRAWS = 1000
"""Number of bootstrap samples behind an interval."""


def wilson_interval(accuracy: float, count: int) -> tuple[float, float]:
    """Return the Wilson 95 % interval of an accuracy.

    Args:
        accuracy: Share of correct examples, in [0, 1].
        count: Number of independent examples, at least 1.

    Returns:
        Lower and upper end, in [0, 1].

    Raises:
        ValueError: If ``count`` is below 1 or ``accuracy`` is outside [0, 1].
    """
    from scipy.stats import binomtest

    if count < 1 or not 0.0 <= accuracy <= 1.0:
        raise ValueError(
            f"accuracy {accuracy} of {count} examples has no interval; "
            "give a share in [0, 1] and at least one example."
        )
    interval = binomtest(round(accuracy * count), count).proportion_ci(method="wilson")
    return float(interval.low), float(interval.high)


def entity_f1_interval(outcomes: Sequence[Outcome], seed: int = 0) -> tuple[float, float]:
    """Return the percentile bootstrap 95 % interval of the entity F1.

    Whole texts are resampled, because the entities of one text are correlated.

    Source: Efron and Tibshirani 1993, chapter 13.

    Args:
        outcomes: NER outcomes, one per text.
        seed: Seed of the resampling.

    Returns:
        Lower and upper end, in [0, 1].

    Raises:
        ValueError: If there are no outcomes.
    """
    if not outcomes:
        raise ValueError("There are no outcomes, so their F1 has no interval.")
    pairs = [
        (set(read_spans(outcome.target)), set(read_spans(outcome.predicted)))
        for outcome in outcomes
    ]
    # F1 depends only on each text's numbers of hits and of entities on both sides.
    counts = np.array(
        [(len(gold & predicted), len(gold) + len(predicted)) for gold, predicted in pairs]
    )
    size = len(counts)
    # Drawing texts with replacement is a multinomial draw of their counts.
    drawn = np.random.default_rng(seed).multinomial(size, np.full(size, 1 / size), DRAWS) @ counts
    # F1 = 2 · hits / (gold + predicted); a draw without any entity has F1 0.
    f1 = 2 * drawn[:, 0] / np.maximum(drawn[:, 1], 1)
    low, high = np.percentile(f1, (2.5, 97.5))
    return float(low), float(high)


def macro_f1_interval(outcomes: Sequence[Outcome], seed: int = 0) -> tuple[float, float]:
    """Return the percentile bootstrap 95 % interval of the macro-F1 of classes.

    As in :meth:`tutelage.tasks.classification.ClassificationTask.metrics`, the mean is over the
    classes present or predicted in a sample.

    Source: Efron and Tibshirani 1993, chapter 13.

    Args:
        outcomes: Classification outcomes, one per text.
        seed: Seed of the resampling.

    Returns:
        Lower and upper end, in [0, 1].

    Raises:
        ValueError: If there are no outcomes.
    """
    if not outcomes:
        raise ValueError("There are no outcomes, so their macro-F1 has no interval.")
    # A draw counts pairs of target and prediction, of which there are few.
    pairs = sorted({(one.target, one.predicted) for one in outcomes})
    place = {pair: index for index, pair in enumerate(pairs)}
    observed = np.bincount([place[one.target, one.predicted] for one in outcomes])
    size = len(outcomes)
    drawn = np.random.default_rng(seed).multinomial(size, observed / size, DRAWS)
    classes = sorted({name for pair in pairs for name in pair})
    hits = np.array([[pair == (name, name) for name in classes] for pair in pairs], dtype=float)
    sides = np.array([[pair.count(name) for name in classes] for pair in pairs], dtype=float)
    # F1 = 2 · hits / (gold + predicted), for each class of a draw.
    both = drawn @ sides
    f1 = (2 * (drawn @ hits) / np.maximum(both, 1)).sum(1) / (both > 0).sum(1)
    low, high = np.percentile(f1, (2.5, 97.5))
    return float(low), float(high)
