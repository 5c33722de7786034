"""Invented labels with noise, and the confident joint that cleanlab finds in them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

CLEANLAB: NDArray[Any] = np.array([[148, 0, 3, 11], [7, 63, 4, 2], [1, 32, 88, 3], [0, 0, 7, 31]])
"""``cleanlab.count.compute_confident_joint(*noisy(), calibrate=True)`` of cleanlab 2.9.0.

Written down, so that the tests need no further package.
"""


def noisy() -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Labels of 400 rows, a part of them wrong, and distributions of a fair classifier."""
    rng = np.random.default_rng(7)
    true = rng.choice(4, size=400, p=[0.4, 0.3, 0.2, 0.1])
    logits = 2.2 * np.eye(4)[true] + rng.normal(size=(400, 4))
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    wrong = rng.random(400) < np.array([0.05, 0.3, 0.1, 0.2])[true]
    labels = np.where(wrong, (true + 1) % 4, true)
    return labels.astype(np.int64), shares
