"""How far a number measured on some test texts may be off: 95 % intervals."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tutelage.records import Outcome
from tutelage.tasks.spans import read_spans

DRAWS = 1000
"""Bootstrap samples behind an interval."""


def wilson_interval(accuracy: float, count: int) -> tuple[float, float]:
    """Wilson 95 % interval of a share ``accuracy`` of ``count`` independent examples, both ends in [0, 1].

    Raises:
        ValueError: ``count`` is below 1 or ``accuracy`` is outside [0, 1].
    """
    from scipy.stats import binomtest

    if count < 1 or not 0.0 <= accuracy <= 1.0:
        raise ValueError(
            f"accuracy {accuracy} of {count} examples has no interval; give a share in [0, 1] and at least one example."
        )
    interval = binomtest(round(accuracy * count), count).proportion_ci(method="wilson")
    return float(interval.low), float(interval.high)


def entity_f1_interval(outcomes: Sequence[Outcome], seed: int = 0) -> tuple[float, float]:
    """Percentile bootstrap 95 % interval of the entity F1, both ends in [0, 1]; whole texts are drawn, since entities of one are alike.

    Source: Efron and Tibshirani 1993, chapter 13.

    Args:
        outcomes: of NER, one a text.

    Raises:
        ValueError: there are no outcomes.
    """
    if not outcomes:
        raise ValueError("There are no outcomes, so their F1 has no interval.")
    pairs = [
        (set(read_spans(outcome.target)), set(read_spans(outcome.predicted)))
        for outcome in outcomes
    ]
    counts = np.array(
        [(len(gold & predicted), len(gold) + len(predicted)) for gold, predicted in pairs]
    )
    size = len(counts)
    drawn = np.random.default_rng(seed).multinomial(size, np.full(size, 1 / size), DRAWS) @ counts
    f1 = 2 * drawn[:, 0] / np.maximum(drawn[:, 1], 1)
    low, high = np.percentile(f1, (2.5, 97.5))
    return float(low), float(high)
