"""Calibration of confidences: expected calibration error and the points of a reliability curve."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class ReliabilityPoint:
    """One bin of confidences (lower, upper]; the first bin includes 0.

    Attributes:
        lower: Lower end of the bin, in [0, 1].
        upper: Upper end of the bin, in [0, 1].
        confidence: Mean confidence in the bin, in [0, 1].
        accuracy: Share of correct predictions in the bin, in [0, 1].
        count: Number of predictions in the bin; at least 1, since empty bins have no point.
    """

    lower: float
    upper: float
    confidence: float
    accuracy: float
    count: int


def reliability_points(
    confidences: Sequence[float], correct: Sequence[bool], bins: int = 15
) -> tuple[ReliabilityPoint, ...]:
    """Bin predictions by confidence into equal widths over [0, 1].

    Args:
        confidences: Probability of each prediction, in [0, 1].
        correct: Whether each prediction was correct; as long as ``confidences``.
        bins: Number of bins, at least 1.

    Returns:
        One point per non-empty bin, in ascending order.

    Raises:
        ValueError: If the lengths differ, a confidence is outside [0, 1] or NaN, or ``bins`` is
            below 1.
    """
    if len(confidences) != len(correct):
        raise ValueError(
            f"{len(confidences)} confidences but {len(correct)} values of correct; "
            "give one per confidence."
        )
    if bins < 1:
        raise ValueError(f"bins is {bins}; give at least 1.")
    values = np.asarray(confidences, dtype=np.float64)
    hits = np.asarray(correct, dtype=np.float64)
    # Sums of float32 probabilities may exceed 1 by rounding; larger deviations are errors.
    invalid = ~((values >= -1e-6) & (values <= 1 + 1e-6))
    if invalid.any():
        raise ValueError(f"confidence {values[invalid][0]} is not in [0, 1].")
    values = values.clip(0.0, 1.0)
    # right=True makes bins (lower, upper]; the inner edges alone put 0 into the first bin.
    edges = np.linspace(0.0, 1.0, bins + 1)
    bin_of = np.digitize(values, edges[1:-1], right=True)
    points = []
    for index in np.unique(bin_of):
        inside = bin_of == index
        points.append(
            ReliabilityPoint(
                lower=float(edges[index]),
                upper=float(edges[index + 1]),
                confidence=float(values[inside].mean()),
                accuracy=float(hits[inside].mean()),
                count=int(inside.sum()),
            )
        )
    return tuple(points)


def expected_calibration_error(
    confidences: Sequence[float], correct: Sequence[bool], bins: int = 15
) -> float:
    """Return the mean distance between confidence and accuracy over equal-width bins.

    Bins are weighted by their number of predictions.

    Source: Naeini, Cooper and Hauskrecht 2015; Guo et al. 2017, equation 3.

    Args:
        confidences: Probability of each prediction, in [0, 1].
        correct: Whether each prediction was correct; as long as ``confidences``.
        bins: Number of bins, at least 1.

    Returns:
        A number in [0, 1]; 0 is perfectly calibrated.

    Raises:
        ValueError: If there are no predictions, or for the reasons of :func:`reliability_points`.
    """
    points = reliability_points(confidences, correct, bins)
    if not points:
        raise ValueError("There are no predictions, so there is no calibration error.")
    return sum(point.count * abs(point.accuracy - point.confidence) for point in points) / len(
        confidences
    )
