"""How far a confidence is to be believed: expected calibration error and the points of a reliability curve."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class ReliabilityPoint:
    """One bin of confidences (lower, upper]; the first bin holds 0 as well.

    Attributes:
        confidence: mean confidence of the bin, in [0, 1].
        accuracy: share of its predictions that were right, in [0, 1].
        count: how many predictions fell in it; at least 1, since empty bins have no point.
    """

    lower: float
    upper: float
    confidence: float
    accuracy: float
    count: int


def reliability_points(
    confidences: Sequence[float], correct: Sequence[bool], bins: int = 15
) -> tuple[ReliabilityPoint, ...]:
    """Bin predictions by confidence into ``bins`` equal widths over [0, 1]; empty bins are left out.

    Args:
        confidences: the probability given to each prediction, in [0, 1].
        correct: whether each prediction was right; as long as ``confidences``.
        bins: how many bins, at least 1.

    Raises:
        ValueError: the lengths differ, a confidence is outside [0, 1] or not a number, or ``bins`` is below 1.
    """
    if len(confidences) != len(correct):
        raise ValueError(
            f"{len(confidences)} confidences but {len(correct)} verdicts; give one verdict for each confidence."
        )
    if bins < 1:
        raise ValueError(f"bins is {bins}; give at least 1.")
    believed = np.asarray(confidences, dtype=np.float64)
    right = np.asarray(correct, dtype=np.float64)
    # Sums of float32 probabilities end a hair above 1: that much is forgiven, no more.
    strange = ~((believed >= -1e-6) & (believed <= 1 + 1e-6))
    if strange.any():
        raise ValueError(f"confidence {believed[strange][0]} is not in [0, 1].")
    believed = believed.clip(0.0, 1.0)
    edges = np.linspace(0.0, 1.0, bins + 1)
    bin_of = np.digitize(believed, edges[1:-1], right=True)
    points = []
    for index in np.unique(bin_of):
        inside = bin_of == index
        points.append(
            ReliabilityPoint(
                lower=float(edges[index]),
                upper=float(edges[index + 1]),
                confidence=float(believed[inside].mean()),
                accuracy=float(right[inside].mean()),
                count=int(inside.sum()),
            )
        )
    return tuple(points)


def expected_calibration_error(
    confidences: Sequence[float], correct: Sequence[bool], bins: int = 15
) -> float:
    """Mean distance between confidence and accuracy over equal-width bins, weighted by how many predictions each holds.

    Source: Naeini, Cooper and Hauskrecht 2015; Guo et al. 2017, equation 3.

    Args:
        confidences: the probability given to each prediction, in [0, 1].
        correct: whether each prediction was right; as long as ``confidences``.
        bins: how many bins, at least 1.

    Returns:
        A number in [0, 1]; 0 is perfectly calibrated.

    Raises:
        ValueError: there are no predictions, or what :func:`reliability_points` raises for.
    """
    points = reliability_points(confidences, correct, bins)
    if not points:
        raise ValueError("There are no predictions, so there is no calibration error.")
    return sum(point.count * abs(point.accuracy - point.confidence) for point in points) / len(
        confidences
    )
