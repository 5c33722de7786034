"""Ranking rules shared by all acquire selectors.

They turn scores into an :class:`~tutelage.selectors.protocol.Acquired`: ties go to the lower index,
and scores other than finite numbers rank last.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tutelage.errors import ConfigError
from tutelage.selectors.protocol import Acquired, Indices


def wanted(n: int, available: int) -> int:
    """Number of texts to choose: ``n``, or all ``available`` ones.

    Raises:
        ConfigError: ``n`` is negative.
    """
    if n < 0:
        raise ConfigError(f"A selector was asked for n={n} texts; give 0 or more.")
    return min(n, available)


def best_first(scores: NDArray[Any], n: int) -> Acquired:
    """Chooses the ``n`` highest scores; the lower index wins a tie, and NaN ranks last.

    Args:
        scores: One score per text, [N].
        n: Number of texts to choose.

    Raises:
        ConfigError: ``n`` is negative.
    """
    count = wanted(n, len(scores))
    # A stable sort keeps ties in index order, and NumPy puts NaN at the end.
    indices = np.argsort(-np.asarray(scores), kind="stable")[:count].astype(np.int64)
    return in_order(indices, np.asarray(scores)[indices])


def in_order(indices: NDArray[Any], scores: NDArray[Any]) -> Acquired:
    """Wraps indices in the given order, with finite scores.

    A score other than a finite number is replaced by the lowest finite one, or by 0 if there is
    none.
    """
    values = np.asarray(scores, dtype=np.float64)
    finite = np.isfinite(values)
    if not finite.all():
        values = np.where(finite, values, values[finite].min() if finite.any() else 0.0)
    return Acquired(np.asarray(indices, dtype=np.int64), values)


def with_rest(indices: NDArray[Any], scores: NDArray[Any], n: int, total: int) -> Acquired:
    """Fills a choice up to ``n`` texts with texts without a score, in index order.

    Args:
        indices: The chosen indices, all usable, in order.
        scores: Their scores.
        n: Number of texts wanted.
        total: Number of texts in the view.
    """
    missing = n - len(indices)
    if missing <= 0:
        return in_order(indices[:n], scores[:n])
    # The first texts outside the choice, with NaN scores for in_order to replace.
    free = np.ones(total, dtype=bool)
    free[indices] = False
    rest: Indices = np.flatnonzero(free)[:missing]
    return in_order(
        np.concatenate([indices, rest]), np.concatenate([scores, np.full(len(rest), np.nan)])
    )
