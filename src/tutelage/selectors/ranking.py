"""From scores to an :class:`~tutelage.selectors.protocol.Acquired`: the rules that hold for every acquisition, in one place."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tutelage.errors import ConfigError
from tutelage.selectors.protocol import Acquired, Indices


def wanted(n: int, available: int) -> int:
    """How many texts to choose: ``n``, or all that there are.

    Raises:
        ConfigError: ``n`` is negative.
    """
    if n < 0:
        raise ConfigError(f"A selector was asked for n={n} texts; give 0 or more.")
    return min(n, available)


def best_first(scores: NDArray[Any], n: int) -> Acquired:
    """The ``n`` places of the highest scores, [N]; of equal ones the earlier place. Scores that are not a number come last, by place.

    Raises:
        ConfigError: ``n`` is negative.
    """
    count = wanted(n, len(scores))
    # Sorting is stable and puts what is not a number at the end.
    indices = np.argsort(-np.asarray(scores), kind="stable")[:count].astype(np.int64)
    return in_order(indices, np.asarray(scores)[indices])


def in_order(indices: NDArray[Any], scores: NDArray[Any]) -> Acquired:
    """Places with their scores as they are, finite: one that is not gets the lowest of the others, or 0 where there are none."""
    values = np.asarray(scores, dtype=np.float64)
    finite = np.isfinite(values)
    if not finite.all():
        values = np.where(finite, values, values[finite].min() if finite.any() else 0.0)
    return Acquired(np.asarray(indices, dtype=np.int64), values)


def with_rest(indices: NDArray[Any], scores: NDArray[Any], n: int, total: int) -> Acquired:
    """Complete a choice to ``n`` of ``total`` texts with those that have no score, by place.

    Args:
        places: what was chosen, all of it usable, in order; at most ``n``.
    """
    missing = n - len(indices)
    if missing <= 0:
        return in_order(indices[:n], scores[:n])
    free = np.ones(total, dtype=bool)
    free[indices] = False
    rest: Indices = np.flatnonzero(free)[:missing]
    return in_order(
        np.concatenate([indices, rest]), np.concatenate([scores, np.full(len(rest), np.nan)])
    )
