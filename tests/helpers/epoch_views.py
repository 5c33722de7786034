"""Epoch views and steps for train selectors, from a few numbers; all others have defaults."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st

from tutelage.selectors.protocol import EpochView, Step

Score = float
"""May be nan."""
SCORES = st.one_of(st.sampled_from([0.0, 0.25, 0.5, 1.0, float("nan")]), st.floats(0, 1))


def epoch(groups: Sequence[int], gold: Sequence[bool] | None = None, **given: Any) -> EpochView:
    """A view of ``len(groups)`` rows, named by index."""
    count = len(groups)
    values: dict[str, Any] = {
        "confidence": np.ones(count),
        "least_confidence": np.ones(count),
        "probabilities": np.full((count, 2), 0.5),
        "losses": np.ones(count),
        "gradients": None,
        "prior_losses": None,
    }
    values |= {name: np.asarray(value, dtype=float) for name, value in given.items()}
    return EpochView(
        ids=tuple(f"row {index}" for index in range(count)),
        texts=("text",) * count,
        groups=np.asarray(groups, dtype=np.int64),
        gold=np.asarray([False] * count if gold is None else gold, dtype=bool),
        classes=max(groups, default=0) + 1,
        **values,
    )


def batch(view: EpochView, indices: Sequence[int] | None = None) -> Step:
    """The rows of ``view`` at ``indices`` as a batch; None takes all rows."""
    at = np.arange(len(view.ids)) if indices is None else np.asarray(indices, dtype=np.int64)
    return Step(
        ids=tuple(view.ids[index] for index in at),
        groups=view.groups[at],
        predicted=view.groups[at],
        confidence=view.confidence[at],
        least_confidence=view.least_confidence[at],
        gold=view.gold[at],
        probabilities=view.probabilities[at],
        owners=np.arange(len(at)),
        classes=view.classes,
    )


def kept(selector: Any, view: EpochView) -> list[int]:
    """Indices of the rows kept by ``selector`` in one batch of the whole epoch."""
    selector.begin(view)
    weighed = selector.weigh(batch(view))
    assert set(weighed.weights.tolist()) <= {0.0, 1.0}
    return np.flatnonzero(weighed.weights).tolist()  # type: ignore[no-any-return]
