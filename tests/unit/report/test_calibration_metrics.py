"""Expected calibration error compared with a slow reference, and its edge cases."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tutelage.report.calibration_metrics import expected_calibration_error, reliability_points

PAIRS = st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=60)


def slow_error(pairs: list[tuple[float, bool]], bins: int) -> float:
    total = 0.0
    for index in range(bins):
        low, high = index / bins, (index + 1) / bins
        inside = [
            (sure, right)
            for sure, right in pairs
            if low < sure <= high or (index == 0 and sure == 0)
        ]
        if inside:
            gap = sum(right for _, right in inside) / len(inside) - sum(
                sure for sure, _ in inside
            ) / len(inside)
            total += abs(gap) * len(inside)
    return total / len(pairs)


@given(PAIRS, st.sampled_from((1, 2, 4, 8, 16)))
def test_agrees_with_the_slow_reference(pairs: list[tuple[float, bool]], bins: int) -> None:
    # Powers of two have exact edges, so both sides put a value on an edge into the same bin.
    sure, right = zip(*pairs, strict=True)
    assert expected_calibration_error(sure, right, bins) == pytest.approx(
        slow_error(pairs, bins), abs=1e-9
    )


@given(PAIRS)
def test_default_bins_agree_with_the_reference_away_from_edges(
    pairs: list[tuple[float, bool]],
) -> None:
    inner = [
        (sure, right) for sure, right in pairs if abs(sure * 15 - round(sure * 15)) > 1e-6
    ] or [(0.51, True)]
    sure, right = zip(*inner, strict=True)
    assert expected_calibration_error(sure, right) == pytest.approx(slow_error(inner, 15), abs=1e-9)


@given(PAIRS, st.integers(1, 20))
def test_points_hold_every_prediction_once(pairs: list[tuple[float, bool]], bins: int) -> None:
    sure, right = zip(*pairs, strict=True)
    points = reliability_points(sure, right, bins)
    assert sum(point.count for point in points) == len(pairs)
    assert sum(point.count * point.accuracy for point in points) == pytest.approx(sum(right))
    assert all(point.lower - 1e-9 <= point.confidence <= point.upper + 1e-9 for point in points)
    assert [point.lower for point in points] == sorted(point.lower for point in points)


def test_known_values() -> None:
    assert expected_calibration_error([0.9] * 10, [True] * 9 + [False]) == pytest.approx(0.0)
    assert expected_calibration_error([1.0, 1.0], [False, False]) == pytest.approx(1.0)
    assert expected_calibration_error([0.0, 1.0], [False, True]) == 0.0
    assert expected_calibration_error([0.8, 0.3], [True, True], bins=2) == pytest.approx(
        (0.2 + 0.7) / 2
    )


def test_a_float32_sum_slightly_above_one_is_forgiven() -> None:
    assert expected_calibration_error([1.0000001], [True]) == 0.0


@pytest.mark.parametrize(
    ("confidence", "right", "bins", "message"),
    [
        ([0.5], [True, False], 15, "1 confidences but 2"),
        ([1.5], [True], 15, "1.5"),
        ([float("nan")], [True], 15, "nan"),
        ([0.5], [True], 0, "bins is 0"),
    ],
)
def test_bad_input_is_named(
    confidence: list[float], right: list[bool], bins: int, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        reliability_points(confidence, right, bins)


def test_no_predictions_have_no_error() -> None:
    assert reliability_points([], []) == ()
    with pytest.raises(ValueError, match="no predictions"):
        expected_calibration_error([], [])
