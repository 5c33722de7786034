"""The lowest confidence threshold from which the kept predictions are right often enough.

Selective classification with guaranteed risk (Geifman and El-Yaniv 2017, arXiv 1705.08500) as
multiple testing (Learn then Test, Angelopoulos et al. 2021, arXiv 2110.01052). One hypothesis per
threshold says that the accuracy of the predictions kept is below the target. They are tested in a
fixed order, from the highest threshold downwards, each by the exact binomial test, which rejects
where the Clopper-Pearson bound reaches the target.

A sequence that ends at its first failure would often end at its first test, which has few texts and
so allows no mistake. Hence there are several starts, and the risk is shared out among them; an
unbroken walk from one start to the next carries its share along (the fallback procedure, Wiens
2003).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tutelage.selectors.protocol import Floats

_DECIMALS = 4
"""Decimals of a student's confidences (:mod:`tutelage.student.inference`)."""


@dataclass(frozen=True, slots=True)
class Kept:
    """The predictions that a threshold keeps.

    Attributes:
        threshold: Lowest confidence that is kept; None if no threshold meets the target.
        texts: Number of texts kept.
        right: How many of them are predicted right.
        bound: Lower bound of the accuracy of the kept, at the level of its test; None without a
            threshold.
    """

    threshold: float | None
    texts: int
    right: int
    bound: float | None


def fewest_texts(accuracy: float, risk: float, wrong: int = 0) -> int:
    """Returns the smallest number of texts, ``wrong`` of them wrong, that meet a target.

    Args:
        accuracy: Target in (0, 1).
        risk: Level of the test, in (0, 1).
        wrong: Number of wrong predictions.
    """
    (found,) = _fewest_texts(accuracy, risk, np.array([wrong]))
    return int(found)


def lowest_threshold(
    confidences: Floats, right: NDArray[np.bool_], accuracy: float, risk: float
) -> Kept:
    """Returns the lowest threshold that meets a target, except with a probability of ``risk``.

    The texts above the next lower confidence of the sample are, given that confidence, a random
    sample of all texts above it. So a threshold is laid just above that next lower one, and its
    binomial test is exact. The order of the tests depends on the numbers of texts kept alone. The
    risk is met exactly where the accuracy falls with the threshold.

    Args:
        confidences: Confidence in each prediction, rounded to four decimals, [N].
        right: Whether it is right, [N].
        accuracy: Target in (0, 1).
        risk: Largest probability that the threshold does not meet the target, in (0, 1).
    """
    from scipy.stats import beta, binom

    values, kept, hits = _by_threshold(confidences, right)
    starts = _starts(len(confidences), accuracy, risk)
    # Probability of as many right ones or more if the accuracy were the target.
    chances = binom.sf(hits - 1, kept, accuracy)
    level, best, at_level, following = 0.0, -1, 0.0, 0
    for index, chance in enumerate(chances):
        while following < len(starts) and kept[index] >= starts[following]:
            level += risk / len(starts)
            following += 1
        if chance > level:
            level = 0.0
        else:
            best, at_level = index, level
    if best < 0:
        return Kept(None, 0, 0, None)
    texts, true = int(kept[best]), int(hits[best])
    last = best + 1 == len(values)
    threshold = 0.0 if last else round(float(values[best + 1]) + 10.0**-_DECIMALS, _DECIMALS)
    return Kept(threshold, texts, true, float(beta.ppf(at_level, true, texts - true + 1)))


def texts_missing(
    confidences: Floats, right: NDArray[np.bool_], accuracy: float, risk: float
) -> int:
    """Returns how many further texts are needed at least for a threshold to meet the target.

    So many are enough only if the student is right about all of them, and surest of them; no
    smaller number is ever enough, since further texts take no mistake back.

    Args:
        confidences: Confidence in each prediction, [N].
        right: Whether it is right, [N].
        accuracy: Target in (0, 1).
        risk: Largest probability that the threshold does not meet the target.
    """
    _, kept, hits = _by_threshold(confidences, right)
    # Without any text of the sample, too: its surest one may be wrong.
    kept, wrong = np.append(kept, 0), np.append(kept - hits, 0)
    missing = _fewest_texts(accuracy, risk, wrong) - kept
    return max(1, int(missing.min()))


def _by_threshold(
    confidences: Floats, right: NDArray[np.bool_]
) -> tuple[Floats, NDArray[np.int64], NDArray[np.int64]]:
    """The distinct confidences, highest first; the texts kept from each on, and the right ones."""
    order = np.argsort(-confidences, kind="stable")
    ordered = confidences[order]
    ends = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], [True] * bool(len(ordered))))
    return ordered[ends], ends + 1, np.cumsum(right[order], dtype=np.int64)[ends]


def _starts(count: int, accuracy: float, risk: float) -> list[int]:
    """Numbers of kept texts at which the tests start, each twice the one before.

    The first is the fewest with which a test of its level can pass at all; there are as many as
    ``count`` texts have room for, and at least one.
    """
    number = 1
    while fewest_texts(accuracy, risk / (number + 1)) * 2**number <= count:
        number += 1
    first = fewest_texts(accuracy, risk / number)
    return [first * 2**index for index in range(number)]


def _fewest_texts(accuracy: float, risk: float, wrong: NDArray[np.int64]) -> NDArray[np.int64]:
    """The same as :func:`fewest_texts` for many numbers of wrong predictions, by bisection."""
    from scipy.stats import binom

    low = wrong.astype(np.int64)
    high = np.maximum(low, math.ceil(math.log(risk) / math.log(accuracy)))
    while (short := binom.cdf(wrong, high, 1.0 - accuracy) > risk).any():
        low, high = np.where(short, high, low), np.where(short, 2 * high, high)
    # Each high is enough, and no low is.
    while (high - low > 1).any():
        middle = (low + high) // 2
        enough = binom.cdf(wrong, middle, 1.0 - accuracy) <= risk
        low, high = np.where(enough, low, middle), np.where(enough, middle, high)
    return high
