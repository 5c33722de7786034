"""The confident joint: how many labels of each class are wrong, and what they should be.

Confident learning (Northcutt et al. 2021, arXiv 1911.00068), section 3.1. The package cleanlab has
it too, with pandas and termcolor behind it; the arithmetic is a dozen lines of numpy, so an audit
needs no extra. tests/unit/audit/test_confident_joint.py compares the two.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tutelage.selectors.protocol import Floats

_ROUNDING = 1e-6
"""A threshold is a mean of float numbers; where all are equal they must reach it."""


def confident_joint(labels: NDArray[np.int64], probabilities: Floats) -> Floats:
    """Estimates the number of units by given and by true class.

    A unit counts as one of the true class j if its held-out probability of j reaches the mean of
    that probability over the units labelled j; of several such classes the most probable one
    counts, and a unit without any is left out. The counts of each given class are then scaled to
    its number of units.

    Args:
        labels: Given class of each unit, [N].
        probabilities: Held-out distribution of each unit, [N, C].

    Returns:
        Array of shape [C, C], given by true class. Each row sums to the units of that class.
    """
    classes = probabilities.shape[1]
    units = np.bincount(labels, minlength=classes)
    # A class that no unit has is nobody's true class.
    thresholds = np.array(
        [
            probabilities[labels == one, one].mean() if units[one] else np.inf
            for one in range(classes)
        ]
    )
    confident = probabilities >= thresholds - _ROUNDING
    counted = confident.any(axis=1)
    true = np.where(confident, probabilities, -1.0).argmax(axis=1)
    counts = np.zeros((classes, classes))
    np.add.at(counts, (labels[counted], true[counted]), 1.0)
    # Each class has a unit that is right, or a class without confident ones would be all wrong.
    np.fill_diagonal(counts, np.diagonal(counts).clip(min=1.0))
    joint: Floats = counts / counts.sum(axis=1, keepdims=True) * units[:, None]
    return joint


def expected_wrong(labels: NDArray[np.int64], probabilities: Floats) -> Floats:
    """Estimates the number of wrong labels of each class, [C]."""
    joint = confident_joint(labels, probabilities)
    wrong: Floats = joint.sum(axis=1) - np.diagonal(joint)
    return wrong
