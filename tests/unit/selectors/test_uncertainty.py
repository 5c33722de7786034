"""Uncertainty measures: values computed by hand, bounds, and agreement with the definitions."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tutelage.errors import ConfigError
from tutelage.selectors.measures import KINDS, mutual_information, uncertainty_of
from tutelage.selectors.protocol import Uncertainty

DISTRIBUTIONS = arrays.arrays(np.float64, (4, 5), elements=st.floats(0, 1)).map(
    lambda x: (x + 1e-9) / (x + 1e-9).sum(1, keepdims=True)
)


def test_values_by_hand() -> None:
    rows = np.array([[0.5, 0.25, 0.25], [1.0, 0.0, 0.0], [1 / 3, 1 / 3, 1 / 3]])
    np.testing.assert_allclose(
        uncertainty_of(rows, "entropy"), [1.5 * math.log(2) / math.log(3), 0, 1], atol=1e-12
    )
    np.testing.assert_allclose(uncertainty_of(rows, "least_confidence"), [0.5, 0, 2 / 3])
    np.testing.assert_allclose(uncertainty_of(rows, "margin"), [0.75, 0, 1])


@pytest.mark.parametrize("kind", KINDS)
def test_borders(kind: Uncertainty) -> None:
    assert uncertainty_of(np.ones((3, 1)), kind).tolist() == [0, 0, 0]
    assert uncertainty_of(np.zeros((0, 4)), kind).shape == (0,)
    assert uncertainty_of(np.zeros((2, 0)), kind).tolist() == [0, 0]
    assert np.isnan(uncertainty_of(np.array([[np.nan, 0.5], [0.5, 0.5]]), kind)).tolist() == [
        True,
        False,
    ]
    assert np.isnan(uncertainty_of(np.array([[np.nan]]), kind)).all()
    assert uncertainty_of(np.array([[1, 0]]), kind).dtype == np.float64
    assert uncertainty_of(np.array([[1, 0]], dtype=np.float32), kind).dtype == np.float32
    assert uncertainty_of(np.full((2, 3, 4), 0.25), kind).shape == (2, 3)


def test_an_unknown_measure_is_named() -> None:
    wrong: Any = "entrpy"
    with pytest.raises(ConfigError, match=r"'entrpy'\. Did you mean 'entropy'\?"):
        uncertainty_of(np.ones((1, 2)), wrong)


@given(rows=DISTRIBUTIONS)
def test_they_lie_between_0_and_1_whatever_the_order_of_classes(rows: np.ndarray) -> None:
    for kind in KINDS:
        found = uncertainty_of(rows, kind)
        assert ((found >= 0) & (found <= 1)).all()
        np.testing.assert_allclose(found, uncertainty_of(rows[:, ::-1], kind), atol=1e-12)


@given(rows=DISTRIBUTIONS)
def test_with_two_classes_the_margin_is_twice_the_missing_confidence(rows: np.ndarray) -> None:
    two = rows[:, :2] / rows[:, :2].sum(1, keepdims=True)
    np.testing.assert_allclose(
        uncertainty_of(two, "margin"), 2 * uncertainty_of(two, "least_confidence"), atol=1e-9
    )


def test_a_committee_disagrees_where_its_sure_members_differ() -> None:
    members = np.array([[[1.0, 0.0], [0.5, 0.5], [1.0, 0.0]], [[0.0, 1.0], [0.5, 0.5], [1.0, 0.0]]])
    entropies = np.array([[0, math.log(2), 0], [0, math.log(2), 0]])
    np.testing.assert_allclose(
        mutual_information(members.mean(0), entropies.mean(0)), [math.log(2), 0, 0], atol=1e-12
    )
